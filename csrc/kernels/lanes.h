// Fixed-width vectors. The width is part of the result: sums are taken lane by lane, so that the
// same numbers come out whether the compiler maps a vector to one AVX-512 register or to four of
// SSE, and whatever the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vkdnw {

inline constexpr std::size_t kLaneBytes = 64;

template <typename T>
struct LanesOf {
  typedef T type __attribute__((vector_size(kLaneBytes)));
};

template <typename T>
using Lanes = typename LanesOf<T>::type;

template <typename T>
inline constexpr int64_t kLaneCount = static_cast<int64_t>(kLaneBytes / sizeof(T));

template <typename T>
inline Lanes<T> load_lanes(const T* source) {
  Lanes<T> lanes;
  std::memcpy(&lanes, source, kLaneBytes);
  return lanes;
}

template <typename T>
inline void store_lanes(T* target, Lanes<T> lanes) {
  std::memcpy(target, &lanes, kLaneBytes);
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
