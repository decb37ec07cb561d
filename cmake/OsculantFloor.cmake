# osculant_floor(NAME SOURCES a.cpp ... TESTS a_test.cpp ... [GROUPS patterns...])
#
# A floor is a folder of osculant/. Its sources go into the library `osculant`, its tests into one
# executable `osculant_NAME_test` whose cases ctest knows one by one as NAME.Suite.Case.
function(osculant_floor NAME)
  cmake_parse_arguments(FLOOR "" "" "SOURCES;TESTS;GROUPS" ${ARGN})
  if(FLOOR_SOURCES)
    list(TRANSFORM FLOOR_SOURCES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    target_sources(osculant PRIVATE ${FLOOR_SOURCES})
  endif()
  if(FLOOR_TESTS AND OSCULANT_TESTS)
    osculant_test(osculant_${NAME}_test ${NAME} ${FLOOR_TESTS} GROUPS ${FLOOR_GROUPS})
  endif()
endfunction()

# What every test sees. One thread each, since ctest runs several at once. (gtest_discover_tests takes lists apart,
# so what it passes on is one variable a property.)
set(OSCULANT_ORACLE_CASES ${PROJECT_BINARY_DIR}/oracle_cases)
set(OSCULANT_TEST_ENVIRONMENT OMP_NUM_THREADS=1 OSCULANT_PYTHON=${OSCULANT_PYTHON})

# osculant_test(TARGET PREFIX sources... [FIXTURES names...] [GROUPS patterns...]): a GoogleTest executable, its cases
# registered as PREFIX.Suite.Case, and run after the fixtures (oracle_cases: tests/CMakeLists.txt). The cases of a
# pattern are run together, as PREFIX. and the pattern without stars: where there are many, each takes less time than
# a process for it.
function(osculant_test TARGET PREFIX)
  cmake_parse_arguments(TEST "" "" "FIXTURES;GROUPS" ${ARGN})
  add_executable(${TARGET} ${TEST_UNPARSED_ARGUMENTS})
  target_link_libraries(${TARGET} PRIVATE osculant GTest::gmock GTest::gtest_main Eigen3::Eigen
                                          nlohmann_json::nlohmann_json)
  target_include_directories(${TARGET} PRIVATE ${PROJECT_SOURCE_DIR})
  osculant_private_settings(${TARGET})
  list(JOIN TEST_GROUPS ":" GROUPED)
  gtest_discover_tests(${TARGET} TEST_PREFIX "${PREFIX}." TEST_FILTER "-${GROUPED}" DISCOVERY_MODE PRE_TEST
                       DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT 300 ENVIRONMENT OMP_NUM_THREADS=1
                                  ENVIRONMENT_MODIFICATION "OSCULANT_ORACLE_CASES=set:${OSCULANT_ORACLE_CASES}"
                                  FIXTURES_REQUIRED "${TEST_FIXTURES}")
  foreach(PATTERN ${TEST_GROUPS})
    string(REGEX REPLACE "/?[*]" "" GROUP ${PATTERN})
    add_test(NAME ${PREFIX}.${GROUP} COMMAND ${TARGET} --gtest_filter=${PATTERN})
    set_tests_properties(${PREFIX}.${GROUP} PROPERTIES TIMEOUT 300 ENVIRONMENT OMP_NUM_THREADS=1)
  endforeach()
endfunction()

# Warnings, the precompiled header and the like, for what is compiled here and never for a user of the library.
function(osculant_private_settings TARGET)
  target_compile_options(${TARGET} PRIVATE -Wall -Wextra -Wno-unused-parameter $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>
                                           $<$<BOOL:${OSCULANT_WERROR}>:-Werror>)
  # The precompiled header holds GoogleTest, so its macro must be the same everywhere.
  target_compile_definitions(${TARGET} PRIVATE $<$<BOOL:${OSCULANT_TESTS}>:GTEST_HAS_PTHREAD=1>)
  if(TARGET osculant_pch)
    target_precompile_headers(${TARGET} REUSE_FROM osculant_pch)
  endif()
endfunction()

# One precompiled header for the library, the tool and every test.
add_library(osculant_pch OBJECT ${PROJECT_SOURCE_DIR}/osculant/pch.cpp)
target_link_libraries(osculant_pch PRIVATE torch nlohmann_json::nlohmann_json
                                           $<$<BOOL:${OSCULANT_TESTS}>:GTest::gmock>)
target_compile_definitions(osculant_pch PRIVATE NDEBUG)
target_compile_options(osculant_pch PRIVATE -Wall -Wextra -Wno-unused-parameter $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
target_precompile_headers(osculant_pch PRIVATE ${PROJECT_SOURCE_DIR}/osculant/pch.h)
