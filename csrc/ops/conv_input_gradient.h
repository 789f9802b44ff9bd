// What the ops for data gradients of convolutions, ReLU's backward included, check alike.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <optional>

#include "kernels/layers/gradient_target.h"

namespace vkdnw {

// Both channel counts must be multiples of this, whatever the width of this machine's vectors.
inline constexpr int64_t kChannelMultiple = 16;

// What error messages name for the cases that are not covered.
inline constexpr const char* kConvGradientOtherwise = "torch.nn.grad.conv2d_input";

// Throws std::invalid_argument, naming the argument, unless the weight is
// [Co, Ci, kernel_size, kernel_size] float32 on the CPU with channel counts that are multiples of
// kChannelMultiple. `shape` explains the dimensions.
void require_conv_weight(const torch::stable::Tensor& weight, int64_t kernel_size,
                         const char* shape);

// The same for an output gradient that is channels_last float32 on the CPU, with at least one
// pixel an image.
void require_output_gradient(const torch::stable::Tensor& grad);

// The size of a gradient.
struct Images {
  int64_t samples;
  int64_t channels;
  int64_t height;
  int64_t width;
};

// The same for a mask, uint8 and contiguous on the CPU, that fits a gradient of an input.
void require_relu_mask(const torch::stable::Tensor& mask, const Images& result);

// A checked mask, or none, of a gradient that is written. Its memory is still to be given.
GradientTarget mask_target(const std::optional<torch::stable::Tensor>& mask);

}  // namespace vkdnw
