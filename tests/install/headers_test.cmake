# Compiles every installed header of BUILD alone, as a user's file that includes nothing else would.
file(REMOVE_RECURSE ${WORK}/include)  # what an earlier version installed
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK} OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(GLOB_RECURSE HEADERS RELATIVE ${WORK}/include ${WORK}/include/osculant/*.h)
if(NOT HEADERS)
  message(FATAL_ERROR "no headers were installed under ${WORK}/include")
endif()
foreach(DIRECTORY ${TORCH_INCLUDES})  # of libtorch's two folders, the list in a test's command keeps the first
  if(EXISTS ${DIRECTORY}/torch/csrc/api/include)
    list(APPEND TORCH_INCLUDES ${DIRECTORY}/torch/csrc/api/include)
  endif()
endforeach()
list(TRANSFORM TORCH_INCLUDES PREPEND "-isystem" OUTPUT_VARIABLE INCLUDES)

set(FAILED "")
foreach(HEADER ${HEADERS})
  string(MAKE_C_IDENTIFIER ${HEADER} NAME)
  file(WRITE ${WORK}/alone/${NAME}.cpp "#include \"${HEADER}\"\n")
  execute_process(COMMAND ${LAUNCHER} ${CXX} -std=c++20 -DNDEBUG -Wall -Wextra -Werror -Wno-unused-parameter
                          -I${WORK}/include ${INCLUDES} -c ${WORK}/alone/${NAME}.cpp -o ${WORK}/alone/${NAME}.o
                  RESULT_VARIABLE RESULT)
  if(NOT RESULT EQUAL 0)
    list(APPEND FAILED ${HEADER})
  endif()
endforeach()
if(FAILED)
  message(FATAL_ERROR "not self-sufficient: ${FAILED}")
endif()
list(LENGTH HEADERS COUNT)
message(STATUS "${COUNT} headers compile alone")
