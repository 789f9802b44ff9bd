#include <torch/csrc/stable/library.h>

#include "kernels/cuda/jacobian_columns_gather.h"
#include "kernels/cuda/jacobian_columns_launch.h"
#include "ops/cuda/device.h"
#include "ops/jacobian_columns.h"

namespace vkdnw {
namespace {

template <typename Storage>
void add_columns(const JacobianColumnsArguments& arguments) {
  const auto problem = checked_problem<Storage>(arguments);
  const auto tables = cuda::gather_tables(problem, plan_jacobian_columns(problem));
  if (tables.nothing_to_do()) {
    return;
  }
  const OnDeviceOf device(arguments.jacobian);
  Tensor scratch = scratch_like(arguments.jacobian, cuda::scratch_layout(tables).bytes);
  require_cuda(cuda::add_jacobian_columns(tables, bytes_of(scratch), device.stream()),
               "jacobian_columns_");
}

void jacobian_columns_(Tensor jacobian, const TensorList& inputs, const TensorList& grads,
                       const Tensor& picks, const Tensor& affine) {
  const JacobianColumnsArguments arguments{jacobian, inputs, grads, picks, affine};
  with_storage_type(arguments, [&](auto storage) { add_columns<decltype(storage)>(arguments); });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CUDA, m) {
  m.impl("jacobian_columns_", TORCH_BOX(&jacobian_columns_));
}

}  // namespace vkdnw
