// Sums and maxima over the 32 lanes of a warp. Every lane gets the same bits: in each step of the
// butterfly two lanes add the same two numbers.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/sizes.h"

namespace vkdnw::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline int lane_index() { return static_cast<int>(threadIdx.x % kWarp); }
__device__ inline int warp_index() { return static_cast<int>(threadIdx.x / kWarp); }

template <typename T>
__device__ T warp_sum(T value) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, offset);
  }
  return value;
}

// The larger one; a NaN in `a` wins.
template <typename T>
__device__ T larger(T a, T b) {
  return a < b ? b : a;
}

template <typename T>
__device__ T warp_max(T value) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    value = larger(value, __shfl_xor_sync(kAllLanes, value, offset));
  }
  return value;
}

// The sum over a block of whole warps, for every thread. `scratch` holds a number for each warp
// and may be used again once all threads have returned and met.
template <typename T>
__device__ T block_sum(T value, T* scratch) {
  value = warp_sum(value);
  if (lane_index() == 0) {
    scratch[warp_index()] = value;
  }
  __syncthreads();
  T sum = T(0);
  for (int warp = 0; warp < static_cast<int>(blockDim.x) / kWarp; ++warp) {
    sum += scratch[warp];
  }
  return sum;
}

template <typename T>
__device__ T block_max(T value, T* scratch) {
  value = warp_max(value);
  if (lane_index() == 0) {
    scratch[warp_index()] = value;
  }
  __syncthreads();
  T most = scratch[0];
  for (int warp = 1; warp < static_cast<int>(blockDim.x) / kWarp; ++warp) {
    most = larger(most, scratch[warp]);
  }
  return most;
}

}  // namespace vkdnw::cuda
