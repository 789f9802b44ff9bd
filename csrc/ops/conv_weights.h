// Argument checks that the ops on convolutions share.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace vkdnw {

// Both channel counts of a convolution must be multiples of this, whatever the width of this
// machine's vectors.
inline constexpr int64_t kChannelMultiple = 16;

// All throw std::invalid_argument, naming the argument. `otherwise` is the torch function for the
// cases that an op does not cover.

// A weight is [Co, Ci, kernel_size, kernel_size] float32 on the CPU with channel counts that are
// multiples of kChannelMultiple.
void require_conv_weight(const torch::stable::Tensor& weight, int64_t kernel_size,
                         const char* otherwise);

// `name` is a tensor that winograd_weights or winograd_forward_weights returned.
void require_winograd_weights(const char* name, const torch::stable::Tensor& weight);

}  // namespace vkdnw
