// Arguments of vkdnw::normalised_sum, checked and in the kernel's terms.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "kernels/layers/normalised_sum.h"

namespace vkdnw {

// Throws std::invalid_argument, naming the argument, unless all maps are of one size
// [B, C, H, W], C a multiple of 16, and float32 channels_last on the CPU, and each has a tensor of
// factors: a result of batch_norm_factors, or one without numbers for maps that are pooled, whose
// places are given. The memory of sum and mask is still to be given.
normalised_sum::Sum checked_sum(const std::vector<torch::stable::Tensor>& maps,
                                const std::vector<torch::stable::Tensor>& factors,
                                const std::vector<int64_t>& pooled);

}  // namespace vkdnw
