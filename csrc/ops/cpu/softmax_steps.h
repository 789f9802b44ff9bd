// The steps of the factor for a batch of probabilities on the CPU.
#pragma once

#include <vector>

#include "ops/factored_jacobian.h"

namespace vkdnw {

// [B, rows] steps. Throws std::invalid_argument, naming the sample, where the probabilities are
// negative or not finite, do not sum to 1 (fisher), or leave no factor (released).
std::vector<FactorStep> checked_steps(const FactorArguments& arguments);

}  // namespace vkdnw
