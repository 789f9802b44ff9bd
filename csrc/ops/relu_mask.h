// Argument of vkdnw::relu_mask, checked and in the kernel's terms.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "kernels/layers/relu_mask.h"

namespace vkdnw {

// Throws std::invalid_argument unless the tensor has 4 dimensions and is float32 channels_last,
// on any device. The mask's memory is still to be given.
relu::Masking checked_masking(const torch::stable::Tensor& relu);

}  // namespace vkdnw
