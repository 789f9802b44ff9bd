// The mask of a ReLU, a byte a thread: eight neighbouring channels.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/relu_mask_launch.h"

namespace vkdnw::cuda {

inline constexpr int kMaskThreads = 256;

__global__ void pack_relu_mask(ReluMask relu) {
  const int64_t i = int64_t{blockIdx.x} * kMaskThreads + threadIdx.x;
  if (i >= relu.pixels * relu.bytes) {
    return;
  }
  const int64_t first = i % relu.bytes * 8;
  const float* pixel = relu.numbers + i / relu.bytes * relu.channels;
  unsigned bits = 0;
  for (int64_t channel = first; channel < first + 8 && channel < relu.channels; ++channel) {
    bits |= pixel[channel] <= 0 ? 0u : 1u << (channel - first);
  }
  relu.mask[i] = static_cast<uint8_t>(bits);
}

cudaError_t launch_relu_mask(const ReluMask& relu, cudaStream_t stream) {
  return launch(pack_relu_mask, blocks_for(relu.pixels * relu.bytes, kMaskThreads), kMaskThreads, 0,
                stream, relu);
}

}  // namespace vkdnw::cuda
