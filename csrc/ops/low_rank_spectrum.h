// vkdnw::low_rank_spectrum: the checks come first, then the kernel of the device.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "kernels/cuda/spectrum_scaling.h"

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

// Throws, naming the matrix, unless all spectra were computed.
void require_done(const std::vector<SpectrumStatus>& status);

// The op of a device: the checks, then Kernel::write<T>(factor, batch, spectra), which fills the
// spectra and returns the status of every matrix, T being the type of `factor`.
template <typename Kernel>
Tensor low_rank_spectrum(const Tensor& factor) {
  const FactorBatch batch = checked_factor_batch(factor);
  Tensor spectra = torch::stable::new_empty(factor, batch.spectrum_shape);
  if (batch.matrices > 0) {
    require_done(factor.scalar_type() == torch::headeronly::ScalarType::Double
                     ? Kernel::template write<double>(factor, batch, spectra)
                     : Kernel::template write<float>(factor, batch, spectra));
  }
  return spectra;
}

}  // namespace vkdnw
