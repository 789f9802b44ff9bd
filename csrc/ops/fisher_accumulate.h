// vkdnw::fisher_accumulate_: the checks come first, then the kernel of the device.
#pragma once

#include "ops/factored_jacobian.h"

namespace vkdnw {

// Throws std::invalid_argument unless `fisher` is [P, P] for the arguments' P, float64 or float32,
// contiguous and on their device, and the scale is finite.
void require_fisher(const Tensor& fisher, const FactorArguments& arguments, double scale);

// The op of a device. It calls Kernel::accumulate<T, Entry>(fisher, arguments, scale) with checked
// arguments, T being the type of `fisher` and Entry that of the Jacobian.
template <typename Kernel>
void fisher_accumulate_(Tensor fisher, const Tensor& jacobian, const Tensor& probabilities,
                        bool released, double scale) {
  const FactorArguments arguments = checked_factor_arguments(jacobian, probabilities, released);
  require_fisher(fisher, arguments, scale);
  const auto accumulate = [&](auto number) {
    using T = decltype(number);
    arguments.is_double() ? Kernel::template accumulate<T, double>(fisher, arguments, scale)
                          : Kernel::template accumulate<T, float>(fisher, arguments, scale);
  };
  fisher.scalar_type() == torch::headeronly::ScalarType::Double ? accumulate(double{})
                                                                : accumulate(float{});
}

}  // namespace vkdnw
