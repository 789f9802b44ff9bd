#include <torch/csrc/stable/library.h>

#include "kernels/cuda/jacobian_columns_gather.h"
#include "kernels/cuda/jacobian_columns_launch.h"
#include "ops/cuda/device.h"
#include "ops/jacobian_columns.h"

namespace vkdnw {
namespace {

struct CudaKernel {
  template <typename Storage>
  static void add(const JacobianColumnsProblem<Storage>& problem, const Tensor& jacobian) {
    const auto tables = cuda::gather_tables(problem, plan_jacobian_columns(problem));
    if (tables.nothing_to_do()) {
      return;
    }
    const OnDeviceOf device(jacobian);
    Tensor scratch = scratch_like(jacobian, cuda::scratch_layout(tables).bytes);
    require_cuda(cuda::add_jacobian_columns(tables, bytes_of(scratch), device.stream()),
                 "jacobian_columns_");
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CUDA, m) {
  m.impl("jacobian_columns_", TORCH_BOX(&jacobian_columns_<CudaKernel>));
}

}  // namespace vkdnw
