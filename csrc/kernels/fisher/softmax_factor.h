// Rows of the factor of a sample's softmax covariance, applied to its Jacobian without forming it.
//
// diag(p) - p p^T = L L^T with L lower triangular and its last column zero. With the suffix sums
// q_j = sum_{i>j} p_i and q_{-1} = 1,
//
//   (L^T J)_j = own_j (J_j - S_j / q_j),   S_j = sum_{i>j} p_i J_i,   own_j = sqrt(p_j q_j /
//   q_{j-1}) (L J)_i   = own_i J_i - p_i T_i,       T_i = sum_{j<i} sqrt(p_j / (q_{j-1} q_j)) J_j
//
// so either convention is one sweep over the classes with one running sum: L^T J from the last
// class to the first, L J (the convention of the published code) from the first to the last.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/simd/host_device.h"

namespace vkdnw {

enum class Convention { kFisher, kReleased };

// row = own * J + sum * S, then S += carry * J.
struct FactorStep {
  double own;
  double sum;
  double carry;
};

// Where no probability is left, the weight of the row is zero in the limit.
VKDNW_HD inline FactorStep fisher_step(double p, double q, double q_before) {
  if (!(q > 0.0 && q_before > 0.0)) {
    return {0.0, 0.0, p};
  }
  const double own = std::sqrt(p * q / q_before);
  return {own, -own / q, p};
}

VKDNW_HD inline FactorStep released_step(double p, double q, double q_before) {
  return {std::sqrt(p * q / q_before), -p, std::sqrt(p / (q_before * q))};
}

// Rows of the factor of one sample.
VKDNW_HD inline int64_t factor_rows(Convention convention, int64_t classes) {
  return convention == Convention::kFisher ? classes - 1 : classes;
}

// Where the row of a step stands in the factor. The same row of the Jacobian belongs to it, but
// for the last step of the released convention, which uses the running sum alone.
VKDNW_HD inline int64_t row_of_step(Convention convention, int64_t classes, int64_t step) {
  return convention == Convention::kFisher ? classes - 2 - step : step;
}

// The steps of one sample in the order of the sweep. False when the factor does not exist: in the
// released convention q_j = 1 - (p_0 + ... + p_j) must stay positive before the last class.
VKDNW_HD inline bool factor_steps(Convention convention, const double* p, int64_t classes,
                                  FactorStep* steps) {
  if (convention == Convention::kFisher) {
    double q = 0.0;
    for (int64_t j = classes - 2; j >= 0; --j) {
      q += p[j + 1];
      steps[classes - 2 - j] = fisher_step(p[j], q, j == 0 ? 1.0 : q + p[j]);
    }
    return true;
  }
  double cumulated = 0.0;
  for (int64_t j = 0; j < classes - 1; ++j) {
    const double q_before = 1.0 - cumulated;
    cumulated += p[j];
    if (!(1.0 - cumulated > 0.0)) {
      return false;
    }
    steps[j] = released_step(p[j], 1.0 - cumulated, q_before);
  }
  steps[classes - 1] = {0.0, -p[classes - 1], 0.0};
  return true;
}

// The factored Jacobian of a batch: samples * rows() rows, one sample after the other, each in the
// order of the sweep.
template <typename Entry>
struct FactoredJacobian {
  Convention convention;
  int64_t samples;
  int64_t classes;
  int64_t columns;
  const Entry* jacobian;  // [samples, classes - 1, columns], columns contiguous
  int64_t sample_stride;
  int64_t class_stride;
  const FactorStep* steps;  // [samples, rows()]

  VKDNW_HD int64_t rows() const { return factor_rows(convention, classes); }
  VKDNW_HD int64_t total_rows() const { return samples * rows(); }
};

}  // namespace vkdnw
