# Each csrc/tests/*_test.cpp is a program of doctest cases and one test of ctest. Those in
# csrc/tests/cuda hold the CUDA kernels, compiled for the CPU: their <cuda_runtime.h> is a shim.

# VKDNW_SANITIZE=address adds the checks of undefined behaviour; a report fails the test.
set(VKDNW_SANITIZE "" CACHE STRING "Sanitizer of the unit tests: empty, address or thread")
set_property(CACHE VKDNW_SANITIZE PROPERTY STRINGS "" address thread)
if(VKDNW_SANITIZE STREQUAL "address")
  add_compile_options(-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined
    -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(VKDNW_SANITIZE STREQUAL "thread")
  find_package(Threads REQUIRED)
  add_compile_options(-O1 -g -fsanitize=thread)
  add_link_options(-fsanitize=thread)
  link_libraries(Threads::Threads)
elseif(VKDNW_SANITIZE)
  message(FATAL_ERROR "VKDNW_SANITIZE=${VKDNW_SANITIZE}: give address or thread")
endif()

enable_testing()
add_library(doctest_main OBJECT third_party/doctest/main.cpp)
target_include_directories(doctest_main SYSTEM PUBLIC third_party/doctest)
target_compile_options(doctest_main PRIVATE -O0) # compiles in half of the time

file(GLOB kernel_sources CONFIGURE_DEPENDS csrc/kernels/*/*.cpp)
add_library(kernels OBJECT ${kernel_sources})
target_link_libraries(kernels PRIVATE vkdnw_kernel_flags)

file(GLOB test_sources CONFIGURE_DEPENDS csrc/tests/*_test.cpp)
if(VKDNW_SANITIZE STREQUAL "thread") # they start no threads
  set(test_sources "")
endif()
foreach(source IN LISTS test_sources)
  cmake_path(GET source STEM name)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE kernels doctest_main vkdnw_kernel_flags)
  add_test(NAME ${name} COMMAND ${name})
endforeach()

# Under the thread sanitizer the shim runs threads, which takes long: a few cases of each kernel then.
# Under the address sanitizer fibres cannot run, because they leave their stacks.
set(races_shim "*")
set(races_fisher "what are no probabilities*,every tile*")
set(races_low_rank_spectrum "a small factor by either path")
set(races_relu_mask "*")
set(races_tape_backward "other layers*,without room*")
set(races_jacobian_columns "one sample*,many picks*,layers without*")

if(VKDNW_SANITIZE STREQUAL "thread")
  set(shim_source csrc/tests/cuda/shim/threads.cpp)
else()
  set(shim_source csrc/tests/cuda/shim/fibres.cpp)
endif()
add_library(cuda_shim OBJECT ${shim_source} csrc/tests/cuda/shim/launch.cpp)
target_include_directories(cuda_shim PUBLIC csrc/tests/cuda/shim)
# Pragmas for nvcc; fibres leave their stacks by longjmp, which fortified libraries refuse.
target_compile_options(cuda_shim PUBLIC -Wno-unknown-pragmas -U_FORTIFY_SOURCE)
if(VKDNW_SANITIZE STREQUAL "thread")
  target_compile_definitions(cuda_shim PUBLIC VKDNW_SHIM_THREADS)
endif()

file(GLOB cuda_test_sources CONFIGURE_DEPENDS csrc/tests/cuda/*_test.cpp)
if(VKDNW_SANITIZE STREQUAL "address")
  set(cuda_test_sources "")
endif()
foreach(source IN LISTS cuda_test_sources)
  cmake_path(GET source STEM name)
  add_executable(cuda_${name} ${source})
  target_link_libraries(cuda_${name} PRIVATE cuda_shim kernels doctest_main vkdnw_kernel_flags)
  # nvcc compiles these kernels for use; here -O1 saves more time of the compiler than it costs.
  target_compile_options(cuda_${name} PRIVATE -O1)
  if(VKDNW_SANITIZE STREQUAL "thread")
    string(REGEX REPLACE "_test$" "" kernel ${name})
    add_test(NAME cuda_${name} COMMAND cuda_${name} "--test-case=${races_${kernel}}")
  else()
    add_test(NAME cuda_${name} COMMAND cuda_${name})
  endif()
endforeach()

if(TEST cuda_low_rank_spectrum_test) # the longest: not last, when one core would wait for it
  set_tests_properties(cuda_low_rank_spectrum_test PROPERTIES COST 10)
endif()
