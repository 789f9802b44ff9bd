#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <vector>

#include "kernels/spectrum/low_rank_spectrum.h"
#include "ops/low_rank_spectrum.h"

namespace vkdnw {
namespace {

struct CpuKernel {
  template <typename T>
  static std::vector<SpectrumStatus> write(const Tensor& factor, const FactorBatch& batch,
                                           Tensor& spectra) {
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
    return status;
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("low_rank_spectrum", TORCH_BOX(&low_rank_spectrum<CpuKernel>));
}

}  // namespace vkdnw
