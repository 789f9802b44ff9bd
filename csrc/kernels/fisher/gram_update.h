// Blocks of A^T A for a tile of rows of A that is packed into panels of columns.
//
// A panel holds kPanel columns, row by row: [rows, kPanel]. The register block is kBlockRows
// columns of one panel against all of another.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/fisher/factor_sweep.h"
#include "kernels/simd/simd.h"

namespace vkdnw::gram {

// With AVX-512, 16 of 32 registers accumulate; otherwise 8 of 16.
inline constexpr int64_t kBlockRows = kNativeBytes == 64 ? 8 : 4;

// Rows packed at a time: one panel stays in the L1 cache while another passes by.
inline constexpr int64_t kTileRows = 256;

// Panels in each direction of a block that stays in the L2 cache.
inline constexpr int64_t kCacheBlock = 8;

// gram[i, j] += scale * sum_r left[r, i] * right[r, j] for kBlockRows columns i of a panel and the
// columns j of another, of which the first kVectors vectors are. Rows [first_row, ...) of `gram`
// are those of i; only the elements with j <= i, i < size are written.
template <typename T, int64_t kVectors>
inline void add_register_block(const T* left, const T* right, int64_t rows, T scale, T* gram,
                               int64_t size, int64_t i_first, int64_t j_first) {
  constexpr int64_t kLanes = kVectorSize<T>;
  Simd<T, kNativeBytes> sums[kBlockRows][kVectors] = {};
  for (int64_t r = 0; r < rows; ++r) {
    Simd<T, kNativeBytes> columns[kVectors];
    for (int64_t v = 0; v < kVectors; ++v) {
      columns[v] = load_simd<kNativeBytes>(right + r * kPanel<T> + v * kLanes);
    }
#pragma GCC unroll 8
    for (int64_t i = 0; i < kBlockRows; ++i) {
      const T factor = left[r * kPanel<T> + i];
#pragma GCC unroll 4
      for (int64_t v = 0; v < kVectors; ++v) {
        sums[i][v] += factor * columns[v];
      }
    }
  }
  constexpr int64_t kColumns = kVectors * kLanes;
  if (i_first + kBlockRows <= size && j_first + kColumns <= i_first + 1) {
    for (int64_t i = 0; i < kBlockRows; ++i) {
      T* row = gram + (i_first + i) * size + j_first;
      for (int64_t v = 0; v < kVectors; ++v) {
        store_simd<kNativeBytes>(row + v * kLanes,
                                 load_simd<kNativeBytes>(row + v * kLanes) + scale * sums[i][v]);
      }
    }
    return;
  }
  T block[kBlockRows][kColumns];
  for (int64_t i = 0; i < kBlockRows; ++i) {
    for (int64_t v = 0; v < kVectors; ++v) {
      store_simd<kNativeBytes>(block[i] + v * kLanes, sums[i][v]);
    }
  }
  const int64_t i_last = std::min(i_first + kBlockRows, size);
  for (int64_t i = i_first; i < i_last; ++i) {
    const int64_t j_last = std::min(j_first + kColumns, i + 1);
    for (int64_t j = j_first; j < j_last; ++j) {
      gram[i * size + j] += scale * block[i - i_first][j - j_first];
    }
  }
}

struct PanelPair {
  int32_t row;
  int32_t column;
};

// Pairs of panels that cover the lower triangle, cache block by cache block.
inline std::vector<PanelPair> lower_triangle_pairs(int64_t panels) {
  std::vector<PanelPair> pairs;
  pairs.reserve(panels * (panels + 1) / 2);
  for (int64_t i_block = 0; i_block < panels; i_block += kCacheBlock) {
    for (int64_t j_block = 0; j_block <= i_block; j_block += kCacheBlock) {
      for (int64_t i = i_block; i < std::min(i_block + kCacheBlock, panels); ++i) {
        for (int64_t j = j_block; j <= std::min(j_block + kCacheBlock - 1, i); ++j) {
          pairs.push_back({static_cast<int32_t>(i), static_cast<int32_t>(j)});
        }
      }
    }
  }
  return pairs;
}

// Adds one pair of panels of a packed tile, [panels, kTileRows, kPanel], to the lower triangle.
template <typename T>
void add_pair(const T* tile, PanelPair pair, int64_t rows, T scale, T* gram, int64_t size) {
  constexpr int64_t kPanelSize = kTileRows * kPanel<T>;
  const T* left = tile + pair.row * kPanelSize;
  const T* right = tile + pair.column * kPanelSize;
  for (int64_t i = 0; i < kPanel<T>; i += kBlockRows) {
    const int64_t i_first = pair.row * kPanel<T> + i;
    if (i_first < size) {
      // Of a panel with itself, the upper triangle is not wanted.
      const auto add = pair.row == pair.column && i + kBlockRows <= kVectorSize<T>
                           ? &add_register_block<T, 1>
                           : &add_register_block<T, kVectorsPerPanel>;
      add(left + i, right, rows, scale, gram, size, i_first, pair.column * kPanel<T>);
    }
  }
}

// Copies rows [first, last) of the strictly lower triangle into the upper, in square blocks.
template <typename T>
void mirror_rows(T* matrix, int64_t size, int64_t first, int64_t last) {
  constexpr int64_t kSquare = 16;
  for (int64_t j_block = 0; j_block < last; j_block += kSquare) {
    for (int64_t i = first; i < last; ++i) {
      for (int64_t j = j_block; j < std::min(j_block + kSquare, i); ++j) {
        matrix[j * size + i] = matrix[i * size + j];
      }
    }
  }
}

}  // namespace vkdnw::gram
