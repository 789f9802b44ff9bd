#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "kernels/fisher/fisher_accumulate.h"
#include "ops/cpu/softmax_steps.h"
#include "ops/fisher_accumulate.h"

namespace vkdnw {
namespace {

using torch::headeronly::ScalarType;

template <typename T, typename Entry>
void accumulate(Tensor& fisher, const FactorArguments& arguments, double scale) {
  const auto steps = checked_steps(arguments);
  accumulate_fisher<T>(factored_jacobian<Entry>(arguments, steps.data()), static_cast<T>(scale),
                       static_cast<T*>(fisher.mutable_data_ptr()),
                       [](int64_t begin, int64_t end, int64_t grain, const auto& range) {
                         torch::stable::parallel_for(begin, end, grain, range);
                       });
}

template <typename T>
void accumulate(Tensor& fisher, const FactorArguments& arguments, double scale) {
  arguments.jacobian.scalar_type() == ScalarType::Double
      ? accumulate<T, double>(fisher, arguments, scale)
      : accumulate<T, float>(fisher, arguments, scale);
}

void fisher_accumulate_(Tensor fisher, const Tensor& jacobian, const Tensor& probabilities,
                        bool released, double scale) {
  const FactorArguments arguments{jacobian, probabilities,
                                  released ? Convention::kReleased : Convention::kFisher};
  require_fisher(fisher, arguments, scale);
  fisher.scalar_type() == ScalarType::Double ? accumulate<double>(fisher, arguments, scale)
                                             : accumulate<float>(fisher, arguments, scale);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("fisher_accumulate_", TORCH_BOX(&fisher_accumulate_));
}

}  // namespace vkdnw
