#include "ops/cpu/softmax_steps.h"

#include <cmath>

#include "ops/check.h"

namespace vkdnw {
namespace {

// Tells probabilities from logits and half-precision leftovers, not one rounding from another.
constexpr double kSumTolerance = 1e-4;

void require_probabilities(const double* p, int64_t classes, int64_t sample,
                           Convention convention) {
  double sum = 0.0;
  for (int64_t j = 0; j < classes; ++j) {
    require(std::isfinite(p[j]) && p[j] >= 0.0, "probabilities[", sample, ", ", j, "] is ", p[j],
            "; check that the logits are finite and softmax was applied");
    sum += p[j];
  }
  require(convention == Convention::kReleased || std::abs(sum - 1.0) <= kSumTolerance,
          "probabilities[", sample, "] sums to ", sum, ", not 1; normalise it");
}

}  // namespace

std::vector<FactorStep> checked_steps(const FactorArguments& arguments) {
  const int64_t classes = arguments.classes();
  const int64_t rows = factor_rows(arguments.convention, classes);
  const auto* p = static_cast<const double*>(arguments.probabilities.const_data_ptr());
  std::vector<FactorStep> steps(arguments.total_rows());
  for (int64_t sample = 0; sample < arguments.samples(); ++sample, p += classes) {
    require_probabilities(p, classes, sample, arguments.convention);
    require(factor_steps(arguments.convention, p, classes, steps.data() + sample * rows),
            "probabilities[", sample,
            "] leaves 1 - (p_0 + ... + p_j) <= 0 before the last class, where the released "
            "convention divides by it; use smoothing or the fisher convention");
  }
  return steps;
}

}  // namespace vkdnw
