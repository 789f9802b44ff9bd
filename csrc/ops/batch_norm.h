// Arguments of the ops on BatchNorm with the batch's own statistics, checked.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <optional>

#include "kernels/layers/batch_norm.h"

namespace vkdnw {

// All throw std::invalid_argument, naming the argument, for sizes, dtypes, devices or layouts that
// are not as the kernels need them.

// x is [B, C, H, W] float32 channels_last on the CPU, C a multiple of 16.
batch_norm::Size checked_map_size(const torch::stable::Tensor& x);

// A tensor is channels_last float32 on the CPU and of the shape of x, which is called `other`.
void require_alike(const char* name, const torch::stable::Tensor& tensor, const char* other,
                   const torch::stable::Tensor& x);

// The size of a map with two numbers a channel or more.
batch_norm::Size checked_norm_size(const torch::stable::Tensor& x);

// The same for a tensor of the size of x, such as a gradient.
batch_norm::Size checked_norm_pair(const char* name, const torch::stable::Tensor& tensor,
                                   const torch::stable::Tensor& x);

// [C] float32 contiguous, or null where there is none.
const float* checked_by_channel(const char* name,
                                const std::optional<torch::stable::Tensor>& tensor,
                                int64_t channels);

// [2, C] float64 contiguous: means, variances.
const double* checked_moments(const torch::stable::Tensor& moments, int64_t channels);

// [2, C] float64 contiguous: means, 1 / deviations.
const double* checked_statistics(const torch::stable::Tensor& statistics, int64_t channels);

// [3, C] float32 contiguous, as batch_norm_factors returns them; all null for no numbers.
batch_norm::Coefficients checked_factors(const torch::stable::Tensor& factors, int64_t channels);

// [4, C] float32 contiguous, as batch_norm_coefficients returns them.
batch_norm::Coefficients checked_coefficients(const torch::stable::Tensor& coefficients,
                                              int64_t channels);

}  // namespace vkdnw
