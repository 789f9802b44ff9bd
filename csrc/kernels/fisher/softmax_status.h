// Whether numbers are the probabilities of one sample.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/fisher/softmax_factor.h"
#include "kernels/simd/host_device.h"

namespace vkdnw {

enum class SoftmaxStatus : int32_t {
  kFine,
  kNotAProbability,  // negative or not finite
  kNotNormalised,
  kNoFactor,  // see factor_steps
};

// Tells probabilities from logits and half-precision leftovers, not one rounding from another.
inline constexpr double kSumTolerance = 1e-4;

VKDNW_HD inline SoftmaxStatus status_of_probabilities(Convention convention, const double* p,
                                                      int64_t classes) {
  double sum = 0.0;
  for (int64_t j = 0; j < classes; ++j) {
    if (!(p[j] >= 0.0 && p[j] < HUGE_VAL)) {
      return SoftmaxStatus::kNotAProbability;
    }
    sum += p[j];
  }
  const bool normalised =
      convention == Convention::kReleased || std::abs(sum - 1.0) <= kSumTolerance;
  return normalised ? SoftmaxStatus::kFine : SoftmaxStatus::kNotNormalised;
}

}  // namespace vkdnw
