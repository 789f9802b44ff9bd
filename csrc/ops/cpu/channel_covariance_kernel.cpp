#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>
#include <vector>

#include "ops/channel_covariance.h"

namespace vkdnw {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

Tensor channel_covariance_of(const Tensor& matrix) {
  const channel_covariance::Rows rows = checked_rows(matrix);
  std::vector<channel_covariance::Sums> sums(rows.parts(), channel_covariance::Sums(0));
  torch::stable::parallel_for(0, rows.parts(), 1, [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      sums[part] = channel_covariance::sum_part(rows, part);
    }
  });
  for (int64_t part = 1; part < rows.parts(); ++part) {
    sums[0].add(sums[part]);
  }
  const std::array<int64_t, 2> shape{rows.channels, rows.channels};
  Tensor result = torch::stable::new_empty(matrix, shape, ScalarType::Double);
  channel_covariance::covariance(sums[0], rows.count,
                                 static_cast<double*>(result.mutable_data_ptr()));
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("channel_covariance", TORCH_BOX(&channel_covariance_of));
}

}  // namespace vkdnw
