// Starting kernels. Sizes that a grid cannot hold are refused, never cut.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <limits>

#include "kernels/cuda/sizes.h"

namespace vkdnw::cuda {

// Passes an error on to the caller, which knows the arguments.
#define VKDNW_RETURN_IF_CUDA_FAILS(call) \
  if (const cudaError_t error = (call); error != cudaSuccess) return error

// A grid of one dimension; there is nothing to do without blocks.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t blocks, unsigned threads,
                   int64_t shared_bytes, cudaStream_t stream, Arguments... arguments) {
  if (blocks == 0) {
    return cudaSuccess;
  }
  if (blocks > std::numeric_limits<int32_t>::max()) {
    return cudaErrorInvalidConfiguration;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// Bytes of shared memory that a block of the current device can have when it asks.
inline cudaError_t most_shared_bytes(int64_t& bytes) {
  int device = 0;
  int most = 0;
  VKDNW_RETURN_IF_CUDA_FAILS(cudaGetDevice(&device));
  VKDNW_RETURN_IF_CUDA_FAILS(
      cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  bytes = most;
  return cudaSuccess;
}

}  // namespace vkdnw::cuda
