// Argument of vkdnw::rectify, checked and in the kernel's terms.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "kernels/layers/relu_mask.h"

namespace vkdnw {

// Throws std::invalid_argument, naming the argument, unless it is [M, C, H, W] float32
// channels_last on the CPU, C a multiple of 16. The results' memory is still to be given.
relu::Rectification checked_rectification(const torch::stable::Tensor& x);

}  // namespace vkdnw
