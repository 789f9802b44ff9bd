// A sum of feature maps on NHWC float32, some of them normalised on the way, and the mask of the
// ReLU that reads the sum.
//
// Sums are taken from left to right, as if every normalised map had been written down first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/batch_norm.h"
#include "kernels/relu_mask.h"
#include "kernels/simd.h"

namespace vkdnw::normalised_sum {

struct Summand {
  const float* x;               // [pixels, channels]
  batch_norm::Coefficients by;  // without a slope; all null for a map that is taken as it is
};

struct Sum {
  int64_t pixels;
  int64_t channels;  // a multiple of batch_norm::kChannelMultiple
  std::vector<Summand> summands;
  float* result;
  uint8_t* mask;  // see kernels/relu_mask.h
};

inline void add(const float* a, const float* b, int64_t count, float* target) {
  for (int64_t i = 0; i < count; i += kNativeBytes / 4) {
    store_simd<kNativeBytes>(target + i,
                             load_simd<kNativeBytes>(a + i) + load_simd<kNativeBytes>(b + i));
  }
}

// Where the sum of some pixels is once a summand has been added: at first, where the summand is.
inline const float* add_summand(const Summand& summand, const float* sum, int64_t first,
                                int64_t pixels, int64_t channels, float* target) {
  const float* x = summand.x + first * channels;
  if (summand.by.scale == nullptr && sum == nullptr) {
    return x;
  }
  if (summand.by.scale == nullptr) {
    add(sum, x, pixels * channels, target);
  } else if (sum == nullptr) {
    batch_norm::normalise<false>(summand.by, pixels, channels, x, nullptr, target);
  } else {
    batch_norm::normalise<true>(summand.by, pixels, channels, x, sum, target);
  }
  return target;
}

// Pixels [first, last), as many at a time as stay in level 1 from summand to summand.
inline void add_pixels(const Sum& problem, int64_t first, int64_t last) {
  const int64_t channels = problem.channels;
  const int64_t chunk = std::max<int64_t>(1, batch_norm::kChunk / channels);
  for (int64_t begin = first; begin < last; begin += chunk) {
    const int64_t count = std::min(chunk, last - begin);
    float* target = problem.result + begin * channels;
    const float* sum = nullptr;
    for (const Summand& summand : problem.summands) {
      sum = add_summand(summand, sum, begin, count, channels, target);
    }
    if (sum != target) {
      std::copy_n(sum, count * channels, target);
    }
    relu::mask_pixels({.pixels = problem.pixels,
                       .channels = channels,
                       .relu = problem.result,
                       .mask = problem.mask},
                      begin, begin + count);
  }
}

}  // namespace vkdnw::normalised_sum
