// Arguments of vkdnw::low_rank_spectrum.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "kernels/spectrum/spectrum_scaling.h"

namespace vkdnw {

using torch::stable::Tensor;

// A contiguous batch [..., rows, columns] of factors.
struct FactorBatch {
  int64_t matrices;
  int64_t rows;
  int64_t columns;
  std::vector<int64_t> spectrum_shape;  // [..., min(rows, columns)]
};

// Throws std::invalid_argument unless `factor` is a contiguous float64 or float32 batch of matrices
// with at least one row and column.
FactorBatch checked_factor_batch(const Tensor& factor);

// Throws, naming the matrix, unless its spectrum was computed.
void require_done(SpectrumStatus status, int64_t matrix);

}  // namespace vkdnw
