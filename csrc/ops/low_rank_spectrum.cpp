#include "ops/low_rank_spectrum.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "ops/check.h"

namespace vkdnw {

using torch::headeronly::ScalarType;

FactorBatch checked_factor_batch(const Tensor& factor) {
  require(factor.dim() >= 2, "factor has ", factor.dim(), " dimensions; it must be [..., M, P]");
  require(factor.scalar_type() == ScalarType::Double || factor.scalar_type() == ScalarType::Float,
          "factor is ", torch::headeronly::toString(factor.scalar_type()),
          "; it must be float64 or float32");
  require(factor.is_contiguous(), "factor must be contiguous");
  const auto sizes = factor.sizes();
  const size_t batch_dims = sizes.size() - 2;
  FactorBatch batch{.matrices = 1,
                    .rows = sizes[batch_dims],
                    .columns = sizes[batch_dims + 1],
                    .spectrum_shape = {sizes.begin(), sizes.begin() + batch_dims}};
  require(batch.rows >= 1 && batch.columns >= 1, "factor has matrices of ", batch.rows, " by ",
          batch.columns, "; each needs a row and a column");
  for (const int64_t size : batch.spectrum_shape) {
    batch.matrices *= size;
  }
  batch.spectrum_shape.push_back(std::min(batch.rows, batch.columns));
  return batch;
}

namespace {

void require_done(SpectrumStatus status, int64_t matrix) {
  switch (status) {
    case SpectrumStatus::kDone:
      return;
    case SpectrumStatus::kNotFinite:
      refuse("factor has a NaN or an infinity in matrix ", matrix,
             " of the batch; check the model's weights, its input and its dtype");
    case SpectrumStatus::kNotConverged:
      throw std::runtime_error("the Jacobi iteration did not converge for matrix " +
                               std::to_string(matrix) +
                               " of the batch; please report it with the matrix");
    case SpectrumStatus::kOverflow:
      refuse("an eigenvalue of matrix ", matrix,
             " of the batch overflows the dtype of factor; scale the factor down or use float64");
  }
}

}  // namespace

void require_done(const std::vector<SpectrumStatus>& status) {
  for (std::size_t matrix = 0; matrix < status.size(); ++matrix) {
    require_done(status[matrix], static_cast<int64_t>(matrix));
  }
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) { m.def("low_rank_spectrum(Tensor factor) -> Tensor"); }

}  // namespace vkdnw
