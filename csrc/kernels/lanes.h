// Sums in a fixed number of lanes. The number is part of the result: sums are taken lane by lane,
// so that they do not depend on the compiler's choice of registers or on the number of threads.
#pragma once

#include <cstdint>

#include "kernels/simd.h"

namespace vkdnw {

inline constexpr int64_t kLaneBytes = 64;

template <typename T>
using Lanes = Simd<T, kLaneBytes>;

template <typename T>
inline constexpr int64_t kLaneCount = kLaneBytes / static_cast<int64_t>(sizeof(T));

template <typename T>
inline Lanes<T> load_lanes(const T* source) {
  return load_simd<kLaneBytes>(source);
}

template <typename T>
inline void store_lanes(T* target, Lanes<T> lanes) {
  store_simd<kLaneBytes>(target, lanes);
}

// Pairwise, so that the rounding error grows with the logarithm of the number of lanes.
template <typename T>
inline T sum_of_lanes(Lanes<T> lanes) {
  T partial[kLaneCount<T>];
  store_lanes(partial, lanes);
  for (int64_t width = kLaneCount<T> / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) {
      partial[i] += partial[i + width];
    }
  }
  return partial[0];
}

}  // namespace vkdnw
