# Whether the library gets CUDA kernels: decided before anything is compiled, from variables alone,
# so that it can be tested as `cmake -D... -P cmake/CudaDecision.cmake`.
#
# In:  VKDNW_CUDA           AUTO, ON, OFF or COMPILE_ONLY
#      VKDNW_NVCC           path of nvcc; empty or NOTFOUND without one
#      VKDNW_NVCC_VERSION   its CUDA version, such as 13.0
#      VKDNW_TORCH_VERSION, VKDNW_TORCH_CUDA (empty for a CPU build)
# Out: VKDNW_CUDA_ENABLED, and VKDNW_CUDA_REASON in words, which `vkdnw doctor` prints.

cmake_policy(VERSION 3.25)

set(modes AUTO ON OFF COMPILE_ONLY)
if(NOT VKDNW_CUDA IN_LIST modes)
  message(FATAL_ERROR "VKDNW_CUDA=${VKDNW_CUDA}: expected one of AUTO, ON, OFF, COMPILE_ONLY")
endif()

string(REGEX MATCH "^[0-9]+" nvcc_major "${VKDNW_NVCC_VERSION}")
string(REGEX MATCH "^[0-9]+" torch_major "${VKDNW_TORCH_CUDA}")
set(obstacle "")
set(remedy "")
if(NOT VKDNW_NVCC)
  set(obstacle "no nvcc was found (CUDACXX, CUDA_HOME, PATH, /usr/local/cuda)")
  set(remedy "Install the CUDA toolkit of torch's CUDA version or set CUDACXX to its nvcc")
elseif(VKDNW_CUDA STREQUAL "COMPILE_ONLY")
  # Compiling needs no CUDA build of torch: the kernels do not know torch.
elseif(NOT VKDNW_TORCH_CUDA)
  set(obstacle "torch ${VKDNW_TORCH_VERSION} is a CPU build, nvcc is CUDA ${VKDNW_NVCC_VERSION}")
  set(remedy "Install a build of torch for CUDA ${nvcc_major}")
elseif(NOT nvcc_major STREQUAL torch_major)
  set(obstacle "torch ${VKDNW_TORCH_VERSION} is built for CUDA ${VKDNW_TORCH_CUDA}, \
nvcc (${VKDNW_NVCC}) is CUDA ${VKDNW_NVCC_VERSION}")
  set(remedy "Set CUDACXX to an nvcc of CUDA ${torch_major}")
endif()

set(VKDNW_CUDA_ENABLED OFF)
if(VKDNW_CUDA STREQUAL "OFF")
  set(VKDNW_CUDA_REASON "no CUDA kernels: VKDNW_CUDA=OFF")
elseif(NOT obstacle)
  set(VKDNW_CUDA_ENABLED ON)
  set(VKDNW_CUDA_REASON "CUDA kernels from nvcc ${VKDNW_NVCC_VERSION}")
elseif(VKDNW_CUDA STREQUAL "AUTO")
  set(VKDNW_CUDA_REASON "no CUDA kernels: ${obstacle}")
else()
  message(FATAL_ERROR
    "VKDNW_CUDA=${VKDNW_CUDA}: ${obstacle}. ${remedy}; VKDNW_CUDA=OFF builds for the CPU alone.")
endif()
message(STATUS "${VKDNW_CUDA_REASON}")
