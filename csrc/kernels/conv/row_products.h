// Sums of matrix products, result = sum over sources of grad x weights, where all matrices are far
// taller than they are wide: pixels by channels.
//
// With 16 channels, fetching and storing the rows takes longer than multiplying them, so a row of
// the result is masked, or added to the target, while it is still in registers.
//
// Sums run over the sources, and over the channels of each upwards. A row's numbers do not depend
// on its neighbours, so that no split of the rows shows in the result.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "kernels/layers/gradient_target.h"
#include "kernels/simd/simd.h"

namespace vkdnw::row_products {

// A block of neighbouring channels of one pixel fills one vector.
using Channels = Simd<float, kNativeBytes>;
inline constexpr int64_t kChannelBlock = kNativeBytes / 4;

// With AVX-512 the sums, the weights and a factor fill the 32 registers, otherwise 16.
inline constexpr int kMaxSums = kNativeBytes == 64 ? 24 : 12;
inline constexpr int kMaxBlocks = kNativeBytes == 64 ? 4 : 2;

// As many independent sums hide the latency of an addition. With more rows, fetching and storing
// comes in longer bursts, which overlap less with the multiplications around them.
inline constexpr int kMaxRows = 12;

// Rows that all blocks of channels are computed for before the next ones are fetched.
inline constexpr int64_t kTileRows = 4 * kMaxSums;

struct Source {
  int64_t channels;
  const float* grad;     // [rows, channels]
  const float* weights;  // [channels, channels of the result]
};

struct Products {
  const Source* sources;
  int64_t source_count;
  int64_t channels;     // of the result, a multiple of kChannelBlock, and of 8 with a mask
  float* result;        // [rows, channels], of which rows are row_stride apart
  int64_t row_stride;   // a multiple of 8
  const uint8_t* mask;  // of the first row, see kernels/layers/relu_mask.h; or null
  bool add;             // to the memory instead of writing it
};

// Rows and channels of the products, from the given ones on.
struct Place {
  int64_t row;
  int64_t channel;
};

// Rows x Blocks blocks of channels, held in registers.
template <int Rows, int Blocks>
void multiply_rows(const Products& products, const Place& place) {
  Channels sum[Rows][Blocks] = {};
  for (int64_t s = 0; s < products.source_count; ++s) {
    const Source& source = products.sources[s];
    const float* grad = source.grad + place.row * source.channels;
    const float* weights = source.weights + place.channel;
    for (int64_t k = 0; k < source.channels; ++k, weights += products.channels) {
      Channels weight[Blocks];
#pragma GCC unroll 4
      for (int b = 0; b < Blocks; ++b) {
        weight[b] = load_simd<kNativeBytes>(weights + b * kChannelBlock);
      }
#pragma GCC unroll 12
      for (int row = 0; row < Rows; ++row) {
        const float factor = grad[row * source.channels + k];
#pragma GCC unroll 4
        for (int b = 0; b < Blocks; ++b) {
          sum[row][b] += factor * weight[b];
        }
      }
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; ++b) {
      const int64_t offset =
          (place.row + row) * products.row_stride + place.channel + b * kChannelBlock;
      store_gradient(products.result, offset, sum[row][b], products.mask, products.add);
    }
  }
}

using MultiplyRows = void (*)(const Products&, const Place&);

// Entry i multiplies i + 1 rows.
template <int Blocks>
constexpr auto multiply_rows_table() {
  return []<int... I>(std::integer_sequence<int, I...>) {
    return std::array<MultiplyRows, sizeof...(I)>{&multiply_rows<I + 1, Blocks>...};
  }(std::make_integer_sequence<int, std::min(kMaxRows, kMaxSums / Blocks)>());
}

template <int Blocks>
void multiply_blocks(const Products& products, Place place, int64_t rows) {
  static constexpr auto kTable = multiply_rows_table<Blocks>();
  constexpr int64_t most = kTable.size();
  for (int64_t done = 0; done < rows; done += most, place.row += most) {
    kTable[std::min(most, rows - done) - 1](products, place);
  }
}

using MultiplyBlocks = void (*)(const Products&, Place, int64_t);

inline constexpr auto kMultiplyBlocks = []<int... I>(std::integer_sequence<int, I...>) {
  return std::array<MultiplyBlocks, sizeof...(I)>{&multiply_blocks<I + 1>...};
}(std::make_integer_sequence<int, kMaxBlocks>());

// Rows [0, rows), all channels.
inline void multiply(const Products& products, int64_t rows) {
  const int64_t blocks = products.channels / kChannelBlock;
  for (int64_t first = 0; first < rows; first += kTileRows) {
    const int64_t tile = std::min(kTileRows, rows - first);
    for (int64_t done = 0; done < blocks; done += kMaxBlocks) {
      const int64_t count = std::min<int64_t>(kMaxBlocks, blocks - done);
      kMultiplyBlocks[count - 1](products, {first, done * kChannelBlock}, tile);
    }
  }
}

}  // namespace vkdnw::row_products
