// The three transforms of Winograd's F(4x4, 3x3): 16 outputs of a 3x3 correlation from a 6x6 patch
// with 36 multiplications instead of 144 (Lavin & Gray, "Fast Algorithms for Convolutional Neural
// Networks", CVPR 2016):
//
//   y = A^T [ (G w G^T) * (B^T d B) ] A
//
// The matrices are those of Cook and Toom for the points 0, +-3/4, +-3/2 and infinity. The usual
// points 0, +-1, +-2 give the same operation count, but entries up to 8 where these give at most
// 27/8: the error is four times smaller. Every constant here is exact in float32.
#pragma once

#include <cstdint>

#include "kernels/layers/relu_mask.h"
#include "kernels/simd/simd.h"

namespace vkdnw::winograd {

inline constexpr int64_t kTile = 4;                     // outputs of a tile along one axis
inline constexpr int64_t kPatch = 6;                    // inputs of a tile along one axis
inline constexpr int64_t kPositions = kPatch * kPatch;  // independent products of a tile

inline constexpr double kNear = 0.75;  // the points: 0, +-kNear, +-kFar, infinity
inline constexpr double kFar = 1.5;

// A block of neighbouring channels of one pixel fills one vector.
using Channels = Simd<float, kNativeBytes>;
inline constexpr int64_t kChannelBlock = kNativeBytes / 4;

inline Channels load_channels(const float* source) { return load_simd<kNativeBytes>(source); }

inline void store_channels(float* target, Channels value) {
  store_simd<kNativeBytes>(target, value);
}

// Weights are transformed once and in double precision, so that their own rounding does not add.
using WideChannels = Simd<double, 2 * kNativeBytes>;

// G w for one line of the kernel.
inline void transform_weights_line(const WideChannels w[3], WideChannels u[kPatch]) {
  constexpr double near2 = kNear * kNear;
  constexpr double far2 = kFar * kFar;
  constexpr double near_scale = 1 / (2 * near2 * (near2 - far2));
  constexpr double far_scale = 1 / (2 * far2 * (far2 - near2));
  const WideChannels near_even = w[0] + near2 * w[2];
  const WideChannels far_even = w[0] + far2 * w[2];
  u[0] = w[0] * (1 / (near2 * far2));
  u[1] = near_scale * (near_even + kNear * w[1]);
  u[2] = near_scale * (near_even - kNear * w[1]);
  u[3] = far_scale * (far_even + kFar * w[1]);
  u[4] = far_scale * (far_even - kFar * w[1]);
  u[5] = w[2];
}

// B^T d for one line of the patch.
inline void transform_patch_line(const Channels d[kPatch], Channels v[kPatch]) {
  constexpr float near = kNear;
  constexpr float far = kFar;
  constexpr float near2 = kNear * kNear;
  constexpr float far2 = kFar * kFar;
  constexpr float sum = near2 + far2;
  constexpr float product = near2 * far2;
  const Channels near_even = d[4] - far2 * d[2];
  const Channels near_odd = d[3] - far2 * d[1];
  const Channels far_even = d[4] - near2 * d[2];
  const Channels far_odd = d[3] - near2 * d[1];
  v[0] = product * d[0] + (d[4] - sum * d[2]);
  v[1] = near_even + near * near_odd;
  v[2] = near_even - near * near_odd;
  v[3] = far_even + far * far_odd;
  v[4] = far_even - far * far_odd;
  v[5] = product * d[1] + (d[5] - sum * d[3]);
}

// A^T m for one line of the products.
inline void transform_products_line(const Channels m[kPatch], Channels y[kTile]) {
  constexpr float near = kNear;
  constexpr float far = kFar;
  constexpr float near2 = near * near;
  constexpr float far2 = far * far;
  constexpr float near3 = near2 * near;
  constexpr float far3 = far2 * far;
  const Channels near_even = m[1] + m[2];
  const Channels near_odd = m[1] - m[2];
  const Channels far_even = m[3] + m[4];
  const Channels far_odd = m[3] - m[4];
  y[0] = m[0] + (near_even + far_even);
  y[1] = near * near_odd + far * far_odd;
  y[2] = near2 * near_even + far2 * far_even;
  y[3] = near3 * near_odd + (far3 * far_odd + m[5]);
}

// G w G^T of 3x3 kernels, rounded once.
inline void transform_weights(const WideChannels w[3][3], float* transformed,
                              int64_t position_stride) {
  WideChannels half[3][kPatch];  // w G^T
  for (int64_t y = 0; y < 3; ++y) {
    transform_weights_line(w[y], half[y]);
  }
  for (int64_t x = 0; x < kPatch; ++x) {
    const WideChannels column[3] = {half[0][x], half[1][x], half[2][x]};
    WideChannels line[kPatch];
    transform_weights_line(column, line);
    for (int64_t y = 0; y < kPatch; ++y) {
      store_channels(transformed + (y * kPatch + x) * position_stride,
                     __builtin_convertvector(line[y], Channels));
    }
  }
}

// Rows and columns of a patch that are in the image.
struct Inside {
  int64_t top;
  int64_t bottom;
  int64_t left;
  int64_t right;

  bool is_whole() const { return bottom - top == kPatch && right - left == kPatch; }
};

// B^T d B of one patch, for one block of channels; with kRectify of its ReLU, which keeps a NaN.
// Without kWhole, pixels outside the image count as zero and are not read.
template <bool kRectify, bool kWhole>
inline void transform_patch(const float* patch, int64_t row_stride, int64_t pixel_stride,
                            const Inside& inside, float* transformed, int64_t position_stride) {
  Channels half[kPatch][kPatch];  // B^T d
#pragma GCC unroll 6
  for (int64_t x = 0; x < kPatch; ++x) {
    const bool has_column = kWhole || (x >= inside.left && x < inside.right);
    Channels column[kPatch];
    Channels line[kPatch];
#pragma GCC unroll 6
    for (int64_t y = 0; y < kPatch; ++y) {
      const bool has_pixel = has_column && (kWhole || (y >= inside.top && y < inside.bottom));
      const Channels pixel =
          has_pixel ? load_channels(patch + y * row_stride + x * pixel_stride) : Channels{};
      column[y] = kRectify ? relu::rectified(pixel) : pixel;
    }
    transform_patch_line(column, line);
#pragma GCC unroll 6
    for (int64_t y = 0; y < kPatch; ++y) {
      half[y][x] = line[y];
    }
  }
#pragma GCC unroll 6
  for (int64_t y = 0; y < kPatch; ++y) {
    Channels line[kPatch];
    transform_patch_line(half[y], line);
#pragma GCC unroll 6
    for (int64_t x = 0; x < kPatch; ++x) {
      store_channels(transformed + (y * kPatch + x) * position_stride, line[x]);
    }
  }
}

// A^T m A of one tile, for one block of channels.
inline void transform_products(const float* products, int64_t position_stride,
                               Channels tile[kTile][kTile]) {
  Channels half[kTile][kPatch];  // A^T m
#pragma GCC unroll 6
  for (int64_t x = 0; x < kPatch; ++x) {
    Channels column[kPatch];
    Channels line[kTile];
#pragma GCC unroll 6
    for (int64_t y = 0; y < kPatch; ++y) {
      column[y] = load_channels(products + (y * kPatch + x) * position_stride);
    }
    transform_products_line(column, line);
#pragma GCC unroll 4
    for (int64_t y = 0; y < kTile; ++y) {
      half[y][x] = line[y];
    }
  }
#pragma GCC unroll 4
  for (int64_t y = 0; y < kTile; ++y) {
    transform_products_line(half[y], tile[y]);
  }
}

}  // namespace vkdnw::winograd
