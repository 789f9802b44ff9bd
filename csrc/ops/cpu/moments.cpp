#include "ops/cpu/moments.h"

#include <torch/csrc/stable/ops.h>

#include <array>

namespace vkdnw {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

Tensor moments_table(const batch_norm::Size& size, const float* origin, const double* sums,
                     const Tensor& like) {
  const std::array<int64_t, 2> shape{2, size.channels};
  Tensor table = torch::stable::new_empty(like, shape, ScalarType::Double);
  double* moment = static_cast<double*>(table.mutable_data_ptr());
  for (int64_t c = 0; c < size.channels; ++c) {
    const batch_norm::Moments found =
        batch_norm::moments(origin[c], sums[c], sums[size.channels + c], size.count());
    moment[c] = found.mean;
    moment[size.channels + c] = found.variance;
  }
  return table;
}

}  // namespace vkdnw
