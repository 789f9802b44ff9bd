#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>

#include "kernels/fisher/fisher_factor.h"
#include "ops/cpu/softmax_steps.h"

namespace vkdnw {
namespace {

using torch::headeronly::ScalarType;

template <typename Entry>
void write_factor(const FactorArguments& arguments, Tensor& factor) {
  const auto steps = checked_steps(arguments);
  write_fisher_factor(factored_jacobian<Entry>(arguments, steps.data()),
                      static_cast<double*>(factor.mutable_data_ptr()),
                      [](int64_t begin, int64_t end, int64_t grain, const auto& range) {
                        torch::stable::parallel_for(begin, end, grain, range);
                      });
}

Tensor fisher_factor(const Tensor& jacobian, const Tensor& probabilities, bool released) {
  const FactorArguments arguments{jacobian, probabilities,
                                  released ? Convention::kReleased : Convention::kFisher};
  require_factor_arguments(arguments);
  const std::array<int64_t, 2> shape{arguments.total_rows(), arguments.columns()};
  Tensor factor = torch::stable::new_empty(jacobian, shape, ScalarType::Double);
  jacobian.scalar_type() == ScalarType::Double ? write_factor<double>(arguments, factor)
                                               : write_factor<float>(arguments, factor);
  return factor;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) { m.impl("fisher_factor", TORCH_BOX(&fisher_factor)); }

}  // namespace vkdnw
