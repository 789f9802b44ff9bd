// vkdnw::fisher_factor: the checks come first, then the kernel of the device.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <array>

#include "ops/factored_jacobian.h"

namespace vkdnw {

// The op of a device. It calls Kernel::write<Entry>(arguments, factor) with checked arguments,
// Entry being the type of the Jacobian, and factor [B * rows, P] float64.
template <typename Kernel>
Tensor fisher_factor(const Tensor& jacobian, const Tensor& probabilities, bool released) {
  const FactorArguments arguments = checked_factor_arguments(jacobian, probabilities, released);
  const std::array<int64_t, 2> shape{arguments.total_rows(), arguments.columns()};
  Tensor factor = torch::stable::new_empty(jacobian, shape, torch::headeronly::ScalarType::Double);
  arguments.is_double() ? Kernel::template write<double>(arguments, factor)
                        : Kernel::template write<float>(arguments, factor);
  return factor;
}

}  // namespace vkdnw
