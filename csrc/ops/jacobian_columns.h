// Arguments of vkdnw::jacobian_columns_, checked and in the kernels' terms. Every device's kernel
// starts from here.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "kernels/fisher/jacobian_columns_problem.h"
#include "ops/check.h"

namespace vkdnw {

using torch::stable::Tensor;
using TensorList = std::vector<Tensor>;

struct JacobianColumnsArguments {
  const Tensor& jacobian;  // [b, K, P]
  const TensorList& inputs;
  const TensorList& grads;
  const Tensor& picks;   // [Q, 10] int64, CPU
  const Tensor& affine;  // [Q, 2] float64, CPU
};

// The dtype shared by the inputs and the gradients; that of the Jacobian where there is no layer.
torch::headeronly::ScalarType storage_dtype(const JacobianColumnsArguments& arguments);

// Throws std::invalid_argument, naming the argument, unless all sizes, dtypes, devices and picks
// are consistent. The kernels read and write memory without further checks.
template <typename Storage>
JacobianColumnsProblem<Storage> checked_problem(const JacobianColumnsArguments& arguments);

// The op of a device: the checks, then Kernel::add(problem, jacobian), where `jacobian` tells the
// device.
template <typename Kernel>
void jacobian_columns_(Tensor jacobian, const TensorList& inputs, const TensorList& grads,
                       const Tensor& picks, const Tensor& affine) {
  using torch::headeronly::ScalarType;
  const JacobianColumnsArguments arguments{jacobian, inputs, grads, picks, affine};
  switch (storage_dtype(arguments)) {
    case ScalarType::Double:
      return Kernel::add(checked_problem<double>(arguments), jacobian);
    case ScalarType::Float:
      return Kernel::add(checked_problem<float>(arguments), jacobian);
    case ScalarType::Half:
      return Kernel::add(checked_problem<Float16>(arguments), jacobian);
    case ScalarType::BFloat16:
      return Kernel::add(checked_problem<BFloat16>(arguments), jacobian);
    default:
      refuse("inputs[0] is ", torch::headeronly::toString(storage_dtype(arguments)),
             "; the layers' dtype must be float64, float32, float16 or bfloat16");
  }
}

}  // namespace vkdnw
