# Finds nvcc, decides whether to use it, and sets up the CUDA language: VKDNW_CUDA_ENABLED.

if(DEFINED ENV{CUDACXX})
  set(VKDNW_NVCC $ENV{CUDACXX})
else()
  find_program(VKDNW_NVCC nvcc
    HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin PATHS /usr/local/cuda/bin NO_CACHE)
endif()
set(VKDNW_NVCC_VERSION "")
if(VKDNW_NVCC)
  execute_process(
    COMMAND ${VKDNW_NVCC} --version OUTPUT_VARIABLE nvcc_says COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" _ "${nvcc_says}")
  set(VKDNW_NVCC_VERSION "${CMAKE_MATCH_1}")
endif()

include(CudaDecision)

if(VKDNW_CUDA_ENABLED)
  set(CMAKE_CUDA_COMPILER ${VKDNW_NVCC})
  set(CMAKE_CUDA_ARCHITECTURES ${VKDNW_CUDA_ARCHS})
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static) # torch brings its own runtime, of any minor version
  enable_language(CUDA)
  string(JOIN " " VKDNW_BUILT_CUDA_ARCHS ${VKDNW_CUDA_ARCHS})
endif()
