// The interface of relu_mask.cu for code that g++ compiles.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace vkdnw::cuda {

// As kernels/layers/relu_mask.h has them; pointers are on the device.
struct ReluMask {
  const float* numbers;  // [pixels, channels]
  uint8_t* mask;         // [pixels, bytes]
  int64_t pixels;
  int64_t channels;
  int64_t bytes;  // of a pixel: channels / 8, filled up to an even number
};

cudaError_t launch_relu_mask(const ReluMask& relu, cudaStream_t stream);

}  // namespace vkdnw::cuda
