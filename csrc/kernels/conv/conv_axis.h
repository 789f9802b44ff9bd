// One spatial axis of a convolution with a stride, seen from its data gradient.
//
// Output position o reads input position o * stride - padding + k through tap k of the kernel.
// Input positions of one phase, i.e. of one remainder modulo the stride, are reached by the same
// taps, each from a fixed distance:
//
//   result[stride * j + phase] = sum over its taps k of grad[j + (phase + padding - k) / stride]
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace vkdnw::conv_axis {

struct Axis {
  int64_t size;       // of the input
  int64_t grad_size;  // of the output
  int64_t kernel;
  int64_t stride;
  int64_t padding;

  bool is_consistent() const {
    const int64_t span = size + 2 * padding - kernel;
    return size >= 1 && kernel >= 1 && stride >= 1 && padding >= 0 && span >= 0 &&
           grad_size == span / stride + 1;
  }

  // Positions j whose gradient may be read, from -before() to grad_size + after().
  int64_t before() const { return std::max<int64_t>(0, (kernel - 1 - padding) / stride); }
  int64_t after() const {
    return std::max<int64_t>(0, (size - 1 + padding) / stride + 1 - grad_size);
  }
  int64_t padded() const { return before() + grad_size + after(); }
};

// Tap k of an axis and the distance from j of the gradient that it multiplies.
struct Tap {
  int64_t k;
  int64_t distance;
};

inline std::vector<Tap> taps_of_phase(const Axis& axis, int64_t phase) {
  std::vector<Tap> taps;
  for (int64_t k = 0; k < axis.kernel; ++k) {
    const int64_t reach = phase + axis.padding - k;
    if (reach % axis.stride == 0) {
      taps.push_back({.k = k, .distance = reach / axis.stride});
    }
  }
  return taps;
}

}  // namespace vkdnw::conv_axis
