// Data gradient of a 1x1 convolution (stride 1, no padding, no groups) on NHWC float32, with the
// backward of the ReLU in front of the convolution folded in.
//
// Every pixel is a row of one matrix product, result = grad x weights, that is far taller than it
// is wide. With 16 channels, fetching and storing the rows takes longer than multiplying them, so
// a row of the result is masked while it is still in registers, and written once.
//
// All sums run over the channels of the gradient upwards. A pixel's numbers do not depend on its
// neighbours, and neither the tiles nor the number of threads show in the result.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "kernels/relu_mask.h"
#include "kernels/simd.h"

namespace vkdnw::conv1x1 {

// A block of neighbouring channels of one pixel fills one vector.
using Channels = Simd<float, kNativeBytes>;
inline constexpr int64_t kChannelBlock = kNativeBytes / 4;

// With AVX-512 the sums, the weights and a factor fill the 32 registers, otherwise 16.
inline constexpr int kMaxSums = kNativeBytes == 64 ? 24 : 12;
inline constexpr int kMaxBlocks = kNativeBytes == 64 ? 4 : 2;

// As many independent sums hide the latency of an addition. With more rows, fetching and storing
// comes in longer bursts, which overlap less with the multiplications around them.
inline constexpr int kMaxRows = 12;

// Pixels that all blocks of channels are computed for before the next ones are fetched.
inline constexpr int64_t kTilePixels = 4 * kMaxSums;

// One data gradient. Pixel p is masked by pixel p % mask_pixels of the mask, which is as
// kernels/relu_mask.h has it and may be null. Both channel counts are multiples of kChannelBlock,
// and with a mask, `channels` also of 8.
struct InputGradient {
  int64_t pixels;
  int64_t grad_channels;
  int64_t channels;
  const float* grad;     // [pixels, grad_channels]
  const float* weights;  // [grad_channels, channels], as the forward convolution has them
  const uint8_t* mask;   // [mask_pixels, channels / 8]
  int64_t mask_pixels;
  float* result;  // [pixels, channels]
};

// Where some pixels and channels of one data gradient begin. The rows of the matrices are as far
// apart as those of the whole.
struct Part {
  int64_t grad_channels;
  int64_t channels;
  const float* grad;
  const float* weights;
  const uint8_t* mask;
  float* result;

  Part from_pixel(int64_t pixel) const {
    Part part = *this;
    part.grad += pixel * grad_channels;
    part.mask = mask == nullptr ? nullptr : mask + pixel * channels / 8;
    part.result += pixel * channels;
    return part;
  }

  Part from_channel(int64_t channel) const {
    Part part = *this;
    part.weights += channel;
    part.mask = mask == nullptr ? nullptr : mask + channel / 8;
    part.result += channel;
    return part;
  }
};

// The first Rows pixels and Blocks blocks of channels of a part, held in registers.
template <int Rows, int Blocks>
void multiply_rows(const Part& part) {
  Channels sum[Rows][Blocks] = {};
  const float* weights = part.weights;
  for (int64_t k = 0; k < part.grad_channels; ++k, weights += part.channels) {
    Channels weight[Blocks];
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; ++b) {
      weight[b] = load_simd<kNativeBytes>(weights + b * kChannelBlock);
    }
#pragma GCC unroll 12
    for (int row = 0; row < Rows; ++row) {
      const float factor = part.grad[row * part.grad_channels + k];
#pragma GCC unroll 4
      for (int b = 0; b < Blocks; ++b) {
        sum[row][b] += factor * weight[b];
      }
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; ++b) {
      const int64_t offset = row * part.channels + b * kChannelBlock;
      store_simd<kNativeBytes>(
          part.result + offset,
          part.mask == nullptr ? sum[row][b] : relu::masked(sum[row][b], part.mask, offset));
    }
  }
}

using MultiplyRows = void (*)(const Part&);

// Entry i multiplies i + 1 rows.
template <int Blocks>
constexpr auto multiply_rows_table() {
  return []<int... I>(std::integer_sequence<int, I...>) {
    return std::array<MultiplyRows, sizeof...(I)>{&multiply_rows<I + 1, Blocks>...};
  }(std::make_integer_sequence<int, std::min(kMaxRows, kMaxSums / Blocks)>());
}

template <int Blocks>
void multiply_blocks(const Part& part, int64_t pixels) {
  static constexpr auto kTable = multiply_rows_table<Blocks>();
  constexpr int64_t most = kTable.size();
  for (int64_t done = 0; done < pixels; done += most) {
    kTable[std::min(most, pixels - done) - 1](part.from_pixel(done));
  }
}

using MultiplyBlocks = void (*)(const Part&, int64_t);

inline constexpr auto kMultiplyBlocks = []<int... I>(std::integer_sequence<int, I...>) {
  return std::array<MultiplyBlocks, sizeof...(I)>{&multiply_blocks<I + 1>...};
}(std::make_integer_sequence<int, kMaxBlocks>());

// The first pixels of a part, all channels.
inline void multiply(const Part& part, int64_t pixels) {
  const int64_t blocks = part.channels / kChannelBlock;
  for (int64_t done = 0; done < blocks; done += kMaxBlocks) {
    const int64_t count = std::min<int64_t>(kMaxBlocks, blocks - done);
    kMultiplyBlocks[count - 1](part.from_channel(done * kChannelBlock), pixels);
  }
}

// Computes pixels [first, last) of problem.pixels, in tiles that do not wrap around the mask.
inline void input_gradient(const InputGradient& problem, int64_t first, int64_t last) {
  while (first < last) {
    int64_t pixels = std::min(kTilePixels, last - first);
    const uint8_t* mask = nullptr;
    if (problem.mask != nullptr) {
      const int64_t pixel = first % problem.mask_pixels;
      mask = problem.mask + pixel * problem.channels / 8;
      pixels = std::min(pixels, problem.mask_pixels - pixel);
    }
    multiply({.grad_channels = problem.grad_channels,
              .channels = problem.channels,
              .grad = problem.grad + first * problem.grad_channels,
              .weights = problem.weights,
              .mask = mask,
              .result = problem.result + first * problem.channels},
             pixels);
    first += pixels;
  }
}

}  // namespace vkdnw::conv1x1
