#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "kernels/fisher/jacobian_columns.h"
#include "ops/jacobian_columns.h"

namespace vkdnw {
namespace {

// Multiply-adds below which handing work to another thread costs more than it saves.
constexpr int64_t kWorkPerThread = 64 * 1024;

struct CpuKernel {
  template <typename Storage>
  static void add(const JacobianColumnsProblem<Storage>& problem, const Tensor&) {
    const int64_t items = problem.samples * problem.cotangents;
    if (items == 0 || problem.picks.empty()) {
      return;
    }
    const auto plan = plan_jacobian_columns(problem);
    const int64_t grain = kWorkPerThread / std::max<int64_t>(1, plan.work_per_item) + 1;
    torch::stable::parallel_for(0, items, grain, [&](int64_t first, int64_t last) {
      JacobianColumnsWorker<Storage>(problem, plan).run(first, last);
    });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("jacobian_columns_", TORCH_BOX(&jacobian_columns_<CpuKernel>));
}

}  // namespace vkdnw
