// Checks of image tensors whose kernels work on NHWC memory.
#pragma once

#include <torch/csrc/stable/tensor.h>

namespace vkdnw {

// Throws std::invalid_argument, naming the argument, unless the tensor has `dim` dimensions and is
// float32, on any device. `shape` explains the dimensions, `otherwise` names the function for other
// cases.
void require_float(const char* name, const torch::stable::Tensor& tensor, int64_t dim,
                   const char* shape, const char* otherwise);

// The same on the CPU.
void require_float_on_cpu(const char* name, const torch::stable::Tensor& tensor, int64_t dim,
                          const char* shape, const char* otherwise);

// The same for an image [samples, channels, height, width], which also must be channels_last.
void require_float_nhwc(const char* name, const torch::stable::Tensor& tensor, const char* shape,
                        const char* otherwise);

// The same on the CPU.
void require_channels_last(const char* name, const torch::stable::Tensor& tensor, const char* shape,
                           const char* otherwise);

}  // namespace vkdnw
