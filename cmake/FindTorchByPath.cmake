# vkdnw_torch: torch's stable ABI, found by path.
#
# find_package(Torch) would want torch's CUDA dependencies (cublas, cufft, curand) of machines that
# only compile; its version file and its folders tell all that is needed.
#
# Sets VKDNW_TORCH_VERSION and VKDNW_TORCH_CUDA (empty for a CPU build).

if(NOT VKDNW_TORCH_DIR)
  find_package(Python 3.11 REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/build_backend/target_torch.py
    OUTPUT_VARIABLE VKDNW_TORCH_DIR OUTPUT_STRIP_TRAILING_WHITESPACE
    COMMAND_ERROR_IS_FATAL ANY)
endif()

file(READ ${VKDNW_TORCH_DIR}/version.py torch_version_file)
string(REGEX MATCH "__version__ = '([^']+)'" _ "${torch_version_file}")
set(VKDNW_TORCH_VERSION "${CMAKE_MATCH_1}")
string(REGEX MATCH "\ncuda[^=]*= '([^']+)'" _ "${torch_version_file}")
set(VKDNW_TORCH_CUDA "${CMAKE_MATCH_1}")
message(STATUS "torch ${VKDNW_TORCH_VERSION} in ${VKDNW_TORCH_DIR}")

# One build runs on this torch and all later ones.
set(VKDNW_TORCH_TARGET 2.11)
set(torch_target_number 0x020b000000000000)

add_library(vkdnw_torch INTERFACE)
target_include_directories(vkdnw_torch SYSTEM INTERFACE ${VKDNW_TORCH_DIR}/include)
target_compile_definitions(vkdnw_torch INTERFACE TORCH_TARGET_VERSION=${torch_target_number})
# torch_cuda exists in CUDA builds only. --no-as-needed: the ops may name none of its symbols but
# weakly, and still rely on its being loaded.
target_link_options(vkdnw_torch INTERFACE -Wl,--no-as-needed)
foreach(name IN ITEMS torch torch_cpu torch_cuda)
  find_library(VKDNW_LIB_${name} ${name} PATHS ${VKDNW_TORCH_DIR}/lib NO_DEFAULT_PATH NO_CACHE)
  if(VKDNW_LIB_${name})
    target_link_libraries(vkdnw_torch INTERFACE ${VKDNW_LIB_${name}})
  elseif(NOT name STREQUAL torch_cuda)
    message(FATAL_ERROR "lib${name} is missing in ${VKDNW_TORCH_DIR}/lib: reinstall torch")
  endif()
endforeach()
