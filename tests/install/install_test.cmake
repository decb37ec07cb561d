# Installs the build in BUILD under WORK, then configures, builds and runs the project in CONSUMER against it.
foreach(SETTING BUILD CONSUMER WORK PREFIX_PATH CXX)
  if(NOT ${SETTING})
    message(FATAL_ERROR "${SETTING} is not set")
  endif()
endforeach()

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE RESULT)
  if(NOT RESULT EQUAL 0)
    list(JOIN ARGN " " LINE)
    message(FATAL_ERROR "failed (${RESULT}): ${LINE}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
run(${CMAKE_COMMAND} -S ${CONSUMER} -B ${WORK}/build -G Ninja -DCMAKE_BUILD_TYPE=Release
    -DOsculant_ROOT=${WORK}/prefix -DCMAKE_PREFIX_PATH=${PREFIX_PATH} -DCMAKE_CXX_COMPILER=${CXX}
    "-DCMAKE_CXX_FLAGS=${CXX_FLAGS}" -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/consumer)
