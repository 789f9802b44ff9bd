#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "kernels/fisher/fisher_factor.h"
#include "ops/cpu/softmax_steps.h"
#include "ops/fisher_factor.h"

namespace vkdnw {
namespace {

struct CpuKernel {
  template <typename Entry>
  static void write(const FactorArguments& arguments, Tensor& factor) {
    const auto steps = checked_steps(arguments);
    write_fisher_factor(factored_jacobian<Entry>(arguments, steps.data()),
                        static_cast<double*>(factor.mutable_data_ptr()),
                        [](int64_t begin, int64_t end, int64_t grain, const auto& range) {
                          torch::stable::parallel_for(begin, end, grain, range);
                        });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("fisher_factor", TORCH_BOX(&fisher_factor<CpuKernel>));
}

}  // namespace vkdnw
