# Everything comes from find_package; `./run` installs it. Why each: docs/design.md, section "Dependencies".

# Torch's own package looks for static libraries that its shared builds do not ship, and warns for each.
set(_osculant_log_level ${CMAKE_MESSAGE_LOG_LEVEL})
set(CMAKE_MESSAGE_LOG_LEVEL ERROR)
find_package(Torch REQUIRED)
set(CMAKE_MESSAGE_LOG_LEVEL ${_osculant_log_level})

find_package(nlohmann_json 3.11 REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(ZLIB REQUIRED)
if(OSCULANT_MPI)
  enable_language(C)  # MPI's own interface; its C++ one is gone
  find_package(MPI COMPONENTS C)
  if(NOT MPI_C_FOUND)
    message(WARNING "no MPI was found: this build runs on one process (OSCULANT_MPI=OFF says so without a warning)")
    set(OSCULANT_MPI OFF)
  endif()
endif()

if(OSCULANT_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
  find_package(Eigen3 3.4 REQUIRED NO_MODULE)
  find_path(SPECTRA_INCLUDE_DIR Spectra/SymEigsSolver.h REQUIRED)  # headers alone, beside Eigen
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  # Oracles in Python need one that can import torch; without it those tests skip.
  set(OSCULANT_PYTHON "${Python3_EXECUTABLE}" CACHE STRING "Python that the tests' oracles run in")
endif()
