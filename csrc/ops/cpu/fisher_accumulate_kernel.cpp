#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "kernels/fisher/fisher_accumulate.h"
#include "ops/cpu/softmax_steps.h"
#include "ops/fisher_accumulate.h"

namespace vkdnw {
namespace {

struct CpuKernel {
  template <typename T, typename Entry>
  static void accumulate(Tensor& fisher, const FactorArguments& arguments, double scale) {
    const auto steps = checked_steps(arguments);
    accumulate_fisher<T>(factored_jacobian<Entry>(arguments, steps.data()), static_cast<T>(scale),
                         static_cast<T*>(fisher.mutable_data_ptr()),
                         [](int64_t begin, int64_t end, int64_t grain, const auto& range) {
                           torch::stable::parallel_for(begin, end, grain, range);
                         });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("fisher_accumulate_", TORCH_BOX(&fisher_accumulate_<CpuKernel>));
}

}  // namespace vkdnw
