// Argument of vkdnw::avg_pool3x3_input_gradient, checked and in the kernel's terms.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "kernels/layers/avg_pool3x3.h"

namespace vkdnw {

// Throws std::invalid_argument, naming the argument, unless it is [N, C, H, W] float32
// channels_last on the CPU; `otherwise` names the remedy. The result's memory is
// still to be given.
avg_pool::InputGradient checked_pooling(const char* name, const torch::stable::Tensor& images,
                                        const char* otherwise);

}  // namespace vkdnw
