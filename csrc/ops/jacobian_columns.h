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

// Calls apply with a value of the layers' storage type; throws for a dtype that no device takes.
template <typename Apply>
void with_storage_type(const JacobianColumnsArguments& arguments, Apply&& apply) {
  using torch::headeronly::ScalarType;
  switch (storage_dtype(arguments)) {
    case ScalarType::Double:
      return apply(double{});
    case ScalarType::Float:
      return apply(float{});
    case ScalarType::Half:
      return apply(Float16{});
    case ScalarType::BFloat16:
      return apply(BFloat16{});
    default:
      refuse("inputs[0] is ", torch::headeronly::toString(storage_dtype(arguments)),
             "; the layers' dtype must be float64, float32, float16 or bfloat16");
  }
}

}  // namespace vkdnw
