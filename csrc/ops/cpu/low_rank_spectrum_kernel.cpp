#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <vector>

#include "kernels/spectrum/low_rank_spectrum.h"
#include "ops/low_rank_spectrum.h"

namespace vkdnw {
namespace {

using torch::headeronly::ScalarType;

// The status of every matrix is looked at after the loop: an exception must not leave a thread.
template <typename T>
void write_spectra(const Tensor& factor, const FactorBatch& batch, Tensor& spectra) {
  const T* factors = static_cast<const T*>(factor.const_data_ptr());
  T* eigenvalues = static_cast<T*>(spectra.mutable_data_ptr());
  const int64_t count = batch.spectrum_shape.back();
  std::vector<SpectrumStatus> status(batch.matrices);
  torch::stable::parallel_for(0, batch.matrices, 1, [&](int64_t first, int64_t last) {
    for (int64_t matrix = first; matrix < last; ++matrix) {
      status[matrix] =
          spectrum_from_factor(factors + matrix * batch.rows * batch.columns, batch.rows,
                               batch.columns, eigenvalues + matrix * count);
    }
  });
  for (int64_t matrix = 0; matrix < batch.matrices; ++matrix) {
    require_done(status[matrix], matrix);
  }
}

Tensor low_rank_spectrum(const Tensor& factor) {
  const FactorBatch batch = checked_factor_batch(factor);
  Tensor spectra = torch::stable::new_empty(factor, batch.spectrum_shape);
  factor.scalar_type() == ScalarType::Double ? write_spectra<double>(factor, batch, spectra)
                                             : write_spectra<float>(factor, batch, spectra);
  return spectra;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("low_rank_spectrum", TORCH_BOX(&low_rank_spectrum));
}

}  // namespace vkdnw
