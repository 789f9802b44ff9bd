// The table of moments that several ops return.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "kernels/layers/batch_norm.h"

namespace vkdnw {

// [2, C] float64: means and variances of the channels of `like`, from the sums over all samples of
// differences from an origin, and of their squares. `origin` is [C], `sums` [2, C].
torch::stable::Tensor moments_table(const batch_norm::Size& size, const float* origin,
                                    const double* sums, const torch::stable::Tensor& like);

}  // namespace vkdnw
