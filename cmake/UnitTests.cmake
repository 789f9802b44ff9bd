# Each csrc/tests/*_test.cpp is a program of doctest cases and one test of ctest.

enable_testing()
add_library(doctest_main OBJECT third_party/doctest/main.cpp)
target_include_directories(doctest_main SYSTEM PUBLIC third_party/doctest)

file(GLOB test_sources CONFIGURE_DEPENDS csrc/tests/*_test.cpp)
foreach(source IN LISTS test_sources)
  cmake_path(GET source STEM name)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE doctest_main vkdnw_kernel_flags)
  add_test(NAME ${name} COMMAND ${name})
endforeach()
