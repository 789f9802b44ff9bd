// The status of a computed spectrum, and the range in which it is computed.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/simd/host_device.h"

namespace vkdnw {

enum class SpectrumStatus : int32_t { kDone, kNotFinite, kNotConverged, kOverflow };

namespace spectrum {

// The exponent of the power of two by which a factor of `size` entries up to `largest` > 0 is
// multiplied. Squared norms then stay below 2^kTarget, so that their products do not overflow, and
// as far as can be from underflow.
template <typename T>
VKDNW_HD int scaling_exponent(int64_t size, T largest) {
  constexpr int kTarget = (std::numeric_limits<T>::max_exponent - 8) / 2;
  constexpr int kMost = std::numeric_limits<T>::max_exponent - 1;  // of subnormal numbers
  const int size_bits = std::ilogb(static_cast<double>(size)) + 1;
  const int wanted = (kTarget - size_bits) / 2 - 1 - std::ilogb(largest);
  return wanted < kMost ? wanted : kMost;
}

}  // namespace spectrum

namespace householder {

// A squared norm that has underflowed or nearly so: the column counts as zero.
template <typename T>
VKDNW_HD bool negligible(T squared_norm) {
  return squared_norm < T(4) * std::numeric_limits<T>::min();
}

}  // namespace householder

namespace jacobi {

// Sweeps are 4 to 10 for sizes up to 1,000; the limit turns a failure into an error.
inline constexpr int kMostSweeps = 60;

}  // namespace jacobi
}  // namespace vkdnw
