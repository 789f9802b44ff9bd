// Arguments of vkdnw::channel_covariance, checked and in the kernel's terms.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "kernels/layers/channel_covariance.h"

namespace vkdnw {

// Throws std::invalid_argument, naming the argument, unless it is [n, C] float32 contiguous on the
// CPU with a row and a column.
channel_covariance::Rows checked_rows(const torch::stable::Tensor& rows);

}  // namespace vkdnw
