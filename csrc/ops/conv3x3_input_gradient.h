// Arguments of vkdnw::winograd_weights and vkdnw::conv3x3_input_gradient, checked and in the
// kernels' terms.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <optional>

#include "kernels/conv/winograd3x3.h"

namespace vkdnw {

// Throws std::invalid_argument, naming the argument, unless it is [Co, Ci, 3, 3] float32 on the CPU
// with channel counts that are multiples of kChannelMultiple.
void check_winograd_weights(const torch::stable::Tensor& weight);

// The same unless it is of the form that winograd_weights returns.
void require_winograd_weights(const torch::stable::Tensor& transformed);

// The same for sizes, dtypes, devices and layouts that do not fit one another. The result's memory
// is still to be given.
winograd::InputGradient checked_input_gradient(const torch::stable::Tensor& grad,
                                               const torch::stable::Tensor& transformed,
                                               const std::optional<torch::stable::Tensor>& mask);

}  // namespace vkdnw
