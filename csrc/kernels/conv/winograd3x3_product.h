// The matrix products in the middle of Winograd's algorithm: [tiles, depth] x [depth, channels],
// one for each position of the transformed patch.
//
// All three matrices are cut into blocks of kChannelBlock columns, one block after the other, so
// that neighbouring rows lie a compile-time constant apart.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "kernels/conv/winograd3x3_transforms.h"

namespace vkdnw::winograd {

// With AVX-512 the sums, the weights and a factor fill the 32 registers, otherwise 16.
inline constexpr int kMaxSums = kNativeBytes == 64 ? 24 : 12;
inline constexpr int kMaxBlocks = kNativeBytes == 64 ? 4 : 2;

struct Factors {
  int64_t depth_blocks;
  const float* patches;  // [depth_blocks][patches_stride], of which tiles x kChannelBlock are used
  const float* weights;  // [blocks][depth_blocks * kChannelBlock][kChannelBlock]
};

// The sum of the products of some factors.
struct Product {
  const Factors* factors;
  int64_t factor_count;
  int64_t patches_stride;
  float* products;  // [blocks][products_stride], of which tiles x kChannelBlock are used
  int64_t products_stride;
};

// Adds the products of Rows tiles with Blocks blocks of channels. The sum runs over the depth
// upwards in every instance: a tile's numbers do not depend on its neighbours.
template <int Rows, int Blocks>
inline void add_products(const Factors& factors, int64_t patches_stride, int64_t first_row,
                         int64_t first_block, Channels sum[Rows][Blocks]) {
  const int64_t weights_stride = factors.depth_blocks * kChannelBlock * kChannelBlock;
  const float* weights = factors.weights + first_block * weights_stride;
  const float* patches = factors.patches + first_row * kChannelBlock;
  for (int64_t block = 0; block < factors.depth_blocks; ++block) {
#pragma GCC unroll 4
    for (int64_t k = 0; k < kChannelBlock; ++k, weights += kChannelBlock) {
      Channels weight[Blocks];
#pragma GCC unroll 4
      for (int b = 0; b < Blocks; ++b) {
        weight[b] = load_channels(weights + b * weights_stride);
      }
#pragma GCC unroll 24
      for (int row = 0; row < Rows; ++row) {
        const float factor = patches[row * kChannelBlock + k];
#pragma GCC unroll 4
        for (int b = 0; b < Blocks; ++b) {
          sum[row][b] += factor * weight[b];
        }
      }
    }
    patches += patches_stride;
  }
}

// Rows tiles and Blocks blocks of channels, held in registers.
template <int Rows, int Blocks>
void multiply_rows(const Product& product, int64_t first_row, int64_t first_block) {
  Channels sum[Rows][Blocks] = {};
  for (int64_t i = 0; i < product.factor_count; ++i) {
    add_products<Rows, Blocks>(product.factors[i], product.patches_stride, first_row, first_block,
                               sum);
  }
  float* products =
      product.products + first_block * product.products_stride + first_row * kChannelBlock;
#pragma GCC unroll 4
  for (int b = 0; b < Blocks; ++b, products += product.products_stride) {
#pragma GCC unroll 24
    for (int row = 0; row < Rows; ++row) {
      store_channels(products + row * kChannelBlock, sum[row][b]);
    }
  }
}

using MultiplyRows = void (*)(const Product&, int64_t, int64_t);

// Entry i multiplies i + 1 rows.
template <int Blocks>
constexpr auto multiply_rows_table() {
  return []<int... I>(std::integer_sequence<int, I...>) {
    return std::array<MultiplyRows, sizeof...(I)>{&multiply_rows<I + 1, Blocks>...};
  }(std::make_integer_sequence<int, kMaxSums / Blocks>());
}

template <int Blocks>
void multiply_blocks(const Product& product, int64_t rows, int64_t first_block) {
  static constexpr auto kTable = multiply_rows_table<Blocks>();
  constexpr int64_t most = kTable.size();
  const int64_t parts = (rows + most - 1) / most;
  for (int64_t part = 0; part < parts; ++part) {  // evenly: few rows at a time are less efficient
    const int64_t first = rows * part / parts;
    const int64_t last = rows * (part + 1) / parts;
    kTable[last - first - 1](product, first, first_block);
  }
}

inline constexpr auto kMultiplyBlocks = []<int... I>(std::integer_sequence<int, I...>) {
  return std::array<MultiplyRows, sizeof...(I)>{&multiply_blocks<I + 1>...};
}(std::make_integer_sequence<int, kMaxBlocks>());

// `rows` tiles with `blocks` blocks of channels.
inline void multiply(const Product& product, int64_t rows, int64_t blocks) {
  for (int64_t done = 0; done < blocks; done += kMaxBlocks) {
    const int64_t count = std::min<int64_t>(kMaxBlocks, blocks - done);
    kMultiplyBlocks[count - 1](product, rows, done);
  }
}

}  // namespace vkdnw::winograd
