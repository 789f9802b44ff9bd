// Arguments of vkdnw::fisher_accumulate_.
#pragma once

#include "ops/factored_jacobian.h"

namespace vkdnw {

// Throws std::invalid_argument unless `fisher` is [P, P] for the arguments' P, float64 or float32,
// contiguous and on their device, and the scale is finite; checks the arguments as well.
void require_fisher(const Tensor& fisher, const FactorArguments& arguments, double scale);

}  // namespace vkdnw
