# The two libraries of the Python package:
#   _ops          the ops on torch's stable ABI, loaded with torch.ops.load_library
#   _build_info   a Python module that tells how _ops was built; portable code, so that it can be
#                 asked on a CPU that _ops cannot run on

find_package(Python 3.11 REQUIRED COMPONENTS Interpreter Development.Module)
file(GLOB op_sources CONFIGURE_DEPENDS
  csrc/ops/*.cpp csrc/ops/cpu/*.cpp csrc/kernels/*/*.cpp)
if(VKDNW_CUDA_ENABLED)
  file(GLOB cuda_sources CONFIGURE_DEPENDS csrc/ops/cuda/*.cpp csrc/kernels/cuda/*.cu)
  list(APPEND op_sources ${cuda_sources})
  list(LENGTH cuda_sources count)
  string(APPEND VKDNW_CUDA_REASON ", ${count} source files")
endif()
if(VKDNW_CUDA STREQUAL "COMPILE_ONLY") # a check; another nvcc may spill a little and be welcome
  set(CMAKE_CUDA_COMPILER_LAUNCHER
    ${Python_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/refuse_spills.py)
  string(APPEND CMAKE_CUDA_FLAGS " -Xptxas=-v")
endif()
add_library(_ops MODULE ${op_sources})
set_target_properties(_ops PROPERTIES
  PREFIX "" SUFFIX ".so" LINKER_LANGUAGE CXX LIBRARY_OUTPUT_DIRECTORY ${VKDNW_OUTPUT_DIR})
target_link_libraries(_ops PRIVATE vkdnw_kernel_flags vkdnw_torch)
if(VKDNW_CUDA_ENABLED) # the launchers' C++ side names cudaStream_t
  target_include_directories(_ops SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
endif()
target_link_options(_ops PRIVATE -Wl,--no-undefined) # a misspelt symbol fails here, not at import

find_package(pybind11 CONFIG REQUIRED)
string(JOIN " " kernel_flags ${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_RELEASE} ${VKDNW_KERNEL_FLAGS})
string(STRIP "${kernel_flags}" kernel_flags)
configure_file(csrc/build_info.h.in generated/build_info.h @ONLY)
pybind11_add_module(_build_info MODULE NO_EXTRAS csrc/build_info.cpp)
target_include_directories(_build_info PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/generated)
set_target_properties(_build_info PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${VKDNW_OUTPUT_DIR})
