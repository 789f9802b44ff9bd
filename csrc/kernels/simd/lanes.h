// Sums in a fixed number of lanes. The number is part of the result: sums are taken lane by lane,
// so that they do not depend on the compiler's choice of registers or on the number of threads.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/simd/simd.h"

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

namespace detail {

// The upper half of a vector added to its lower half, until one number is left.
template <typename T, int64_t kBytes, int... kIndex>
inline T fold(Simd<T, kBytes> value, std::integer_sequence<int, kIndex...>) {
  constexpr int kHalf = sizeof...(kIndex);
  const auto halves = __builtin_shufflevector(value, value, kIndex...) +
                      __builtin_shufflevector(value, value, (kIndex + kHalf)...);
  if constexpr (kHalf == 2) {
    return halves[0] + halves[1];
  } else {
    return fold<T, kBytes / 2>(halves, std::make_integer_sequence<int, kHalf / 2>{});
  }
}

}  // namespace detail

// Pairwise, so that the rounding error grows with the logarithm of the number of lanes.
template <typename T>
inline T sum_of_lanes(Lanes<T> lanes) {
  return detail::fold<T, kLaneBytes>(lanes, std::make_integer_sequence<int, kLaneCount<T> / 2>{});
}

}  // namespace vkdnw
