// Sums over the pixels of one sample of the outer products of two NHWC float32 feature maps, of
// which one may have n times the sides of the other. Its pixels that fall on one pixel of the other
// are stacked as channels:
//
//   sums[(i, j, a), b] = sum over y, x of wide[n y + i, n x + j, a] narrow[y, x, b]
//
// Sums are taken in float32, over runs of pixels that are then added up.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/simd/simd.h"

namespace vkdnw::map_products {

// Channel counts are multiples of this.
inline constexpr int64_t kChannelMultiple = 16;

struct Maps {
  int64_t height;  // of the narrow one
  int64_t width;
  int64_t times;  // n
  int64_t wide_channels;
  int64_t narrow_channels;
  const float* wide;
  const float* narrow;

  int64_t rows() const { return times * times * wide_channels; }
  int64_t size() const { return rows() * narrow_channels; }
};

inline constexpr int64_t kRun = 512;

// Channels of the wide map whose products with one vector of the other's are held in registers.
inline constexpr int64_t kBlock = kNativeBytes == 64 ? 16 : 8;
inline constexpr int64_t kVector = kNativeBytes / 4;

// Sums over pixels [first, last), counted along rows, into sums[0 .. kBlock), of which rows are
// narrow_channels apart. They are overwritten where `first` is 0, else added to. `wide` and
// `narrow` are the first pixel's channels at hand.
inline void add_run(const Maps& maps, const float* wide, const float* narrow, int64_t first,
                    int64_t last, float* sums) {
  Simd<float, kNativeBytes> block[kBlock] = {};
  for (int64_t pixel = first; pixel < last;) {
    const int64_t y = pixel / maps.width;
    const int64_t end = std::min(last, (y + 1) * maps.width);
    const int64_t step = maps.times * maps.wide_channels;
    const float* from = wide + (maps.times * y * maps.times * maps.width) * maps.wide_channels +
                        (pixel - y * maps.width) * step;
    for (; pixel < end; ++pixel, from += step) {
      const auto columns = load_simd<kNativeBytes>(narrow + pixel * maps.narrow_channels);
#pragma GCC unroll 16
      for (int64_t a = 0; a < kBlock; ++a) {
        block[a] += from[a] * columns;
      }
    }
  }
  for (int64_t a = 0; a < kBlock; ++a, sums += maps.narrow_channels) {
    store_simd<kNativeBytes>(sums,
                             first == 0 ? block[a] : load_simd<kNativeBytes>(sums) + block[a]);
  }
}

// Overwrites `sums`, [rows(), narrow_channels].
inline void multiply(const Maps& maps, float* sums) {
  const int64_t pixels = maps.height * maps.width;
  const int64_t wide_row = maps.times * maps.width * maps.wide_channels;
  for (int64_t first = 0; first < pixels; first += kRun) {
    const int64_t last = std::min(pixels, first + kRun);
    for (int64_t row = 0; row < maps.rows(); row += kBlock) {
      const int64_t place = row / maps.wide_channels;
      const float* wide = maps.wide + place / maps.times * wide_row +
                          place % maps.times * maps.wide_channels + row % maps.wide_channels;
      for (int64_t b = 0; b < maps.narrow_channels; b += kVector) {
        add_run(maps, wide, maps.narrow + b, first, last, sums + row * maps.narrow_channels + b);
      }
    }
  }
}

}  // namespace vkdnw::map_products
