# Each csrc/tests/*_test.cpp is a program of doctest cases and one test of ctest. Those in
# csrc/tests/cuda hold the CUDA kernels, compiled for the CPU: their <cuda_runtime.h> is a shim.

enable_testing()
add_library(doctest_main OBJECT third_party/doctest/main.cpp)
target_include_directories(doctest_main SYSTEM PUBLIC third_party/doctest)

file(GLOB kernel_sources CONFIGURE_DEPENDS csrc/kernels/*/*.cpp)
add_library(kernels OBJECT ${kernel_sources})
target_link_libraries(kernels PRIVATE vkdnw_kernel_flags)

file(GLOB test_sources CONFIGURE_DEPENDS csrc/tests/*_test.cpp)
foreach(source IN LISTS test_sources)
  cmake_path(GET source STEM name)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE kernels doctest_main vkdnw_kernel_flags)
  add_test(NAME ${name} COMMAND ${name})
endforeach()

add_library(cuda_shim OBJECT csrc/tests/cuda/shim/fibres.cpp)
target_include_directories(cuda_shim PUBLIC csrc/tests/cuda/shim)
# Pragmas for nvcc; fibres leave their stacks by longjmp, which fortified libraries refuse.
target_compile_options(cuda_shim PUBLIC -Wno-unknown-pragmas -U_FORTIFY_SOURCE)

file(GLOB cuda_test_sources CONFIGURE_DEPENDS csrc/tests/cuda/*_test.cpp)
foreach(source IN LISTS cuda_test_sources)
  cmake_path(GET source STEM name)
  add_executable(cuda_${name} ${source})
  target_link_libraries(cuda_${name} PRIVATE cuda_shim doctest_main vkdnw_kernel_flags)
  add_test(NAME cuda_${name} COMMAND cuda_${name})
endforeach()
