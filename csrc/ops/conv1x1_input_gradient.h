// Arguments of vkdnw::conv1x1_input_gradient, checked and in the kernel's terms.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <optional>

#include "kernels/conv/conv1x1.h"

namespace vkdnw {

// Throws std::invalid_argument, naming the argument, for sizes, dtypes, devices or layouts that do
// not fit one another. The memory of the weights and of the result is still to be given.
conv1x1::InputGradient checked_conv1x1_gradient(const torch::stable::Tensor& grad,
                                                const torch::stable::Tensor& weight,
                                                const std::optional<torch::stable::Tensor>& mask);

}  // namespace vkdnw
