// Arguments of vkdnw::conv3x3 and vkdnw::conv1x1, checked and in the kernels' terms.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "kernels/conv/conv1x1.h"
#include "kernels/conv/winograd3x3.h"

namespace vkdnw {

// Both throw std::invalid_argument, naming the argument, for sizes, dtypes, devices or layouts that
// do not fit one another. The memory of the result is still to be given.

// The convolution of x, which is the gradient of another; see winograd_forward_weights.
winograd::InputGradient checked_conv3x3(const torch::stable::Tensor& x,
                                        const torch::stable::Tensor& transformed, bool rectify);

// The memory of the weights, too, is still to be given.
conv1x1::Convolution checked_conv1x1(const torch::stable::Tensor& x,
                                     const torch::stable::Tensor& weight, bool rectify);

}  // namespace vkdnw
