// fisher += scale * A^T A with A the factored Jacobian of a batch. Rows of A exist in shared memory
// only, a few at a time, for the columns of one tile of the result.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "kernels/cuda/fisher_launch.h"
#include "kernels/cuda/launch.h"
#include "kernels/fisher/softmax_factor.h"

namespace vkdnw::cuda {

inline constexpr int kRowsAtOnce = 16;          // of A in shared memory
inline constexpr int kGramThreads = 2 * kTile;  // one for each column of the two sides
inline constexpr int kTileRows = 4;             // of a thread's part of the tile
inline constexpr int kTileColumns = 8;

struct TileIndex {
  int64_t row;
  int64_t column;  // <= row
};

__device__ inline TileIndex tile_index(int64_t number) {
  auto row = static_cast<int64_t>((sqrt(8.0 * static_cast<double>(number) + 1.0) - 1.0) / 2.0);
  while (row * (row + 1) / 2 > number) {
    --row;
  }
  while ((row + 1) * (row + 2) / 2 <= number) {
    ++row;
  }
  return {row, number - row * (row + 1) / 2};
}

// The sweep over samples and classes of one column.
template <typename T, typename Entry>
struct ColumnSweep {
  const FactoredJacobian<Entry>& factored;
  int64_t column;
  int64_t rows;
  int64_t sample;
  int64_t step;
  T sum;

  __device__ T next() {
    if (step == rows) {
      step = 0;
      ++sample;
    }
    if (step == 0) {
      sum = T(0);
    }
    const int64_t row = row_of_step(factored.convention, factored.classes, step);
    T entry = T(0);
    if (column < factored.columns && row < factored.classes - 1) {
      entry = static_cast<T>(factored.jacobian[sample * factored.sample_stride +
                                               row * factored.class_stride + column]);
    }
    const FactorStep& s = factored.steps[sample * rows + step];
    const T value = static_cast<T>(s.own) * entry + static_cast<T>(s.sum) * sum;
    sum += static_cast<T>(s.carry) * entry;
    ++step;
    return value;
  }
};

// Only the lower triangle is read; the upper one becomes its mirror image.
template <typename T>
__device__ void add_to_fisher(T* fisher, int64_t columns, const TileIndex& tile, int i, int j,
                              T value) {
  const int64_t row = tile.row * kTile + i;
  const int64_t column = tile.column * kTile + j;
  if (row < columns && column <= row) {
    const T sum = fisher[row * columns + column] + value;
    fisher[row * columns + column] = sum;
    fisher[column * columns + row] = sum;
  }
}

// A block computes one tile from one range of samples, into `partial` if there are several.
template <typename T, typename Entry>
__global__ __launch_bounds__(kGramThreads) void gram_tiles(FactoredJacobian<Entry> factored,
                                                           GramShape shape, T scale, T* fisher,
                                                           T* partial) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  T* rows_of_a = reinterpret_cast<T*>(shared_bytes);  // [kRowsAtOnce, 2 * kTile]
  const TileIndex tile = tile_index(blockIdx.x % shape.tiles);
  const int64_t split = blockIdx.x / shape.tiles;
  const int64_t first = factored.samples * split / shape.splits;
  const int64_t last = factored.samples * (split + 1) / shape.splits;
  const auto thread = static_cast<int>(threadIdx.x);
  const int64_t side = thread < kTile ? tile.row : tile.column;
  const int64_t rows = factored.rows();
  ColumnSweep<T, Entry> sweep{factored, side * kTile + thread % kTile, rows, first, 0, T(0)};
  const int i0 = thread / (kTile / kTileColumns) * kTileRows;
  const int j0 = thread % (kTile / kTileColumns) * kTileColumns;
  T sums[kTileRows][kTileColumns] = {};
  for (int64_t left = (last - first) * rows; left > 0; left -= kRowsAtOnce) {
    const int count = left < kRowsAtOnce ? static_cast<int>(left) : kRowsAtOnce;
    for (int r = 0; r < count; ++r) {
      rows_of_a[r * kGramThreads + thread] = sweep.next();
    }
    __syncthreads();
    for (int r = 0; r < count; ++r) {
      const T* a = rows_of_a + r * kGramThreads;
#pragma unroll
      for (int i = 0; i < kTileRows; ++i) {
#pragma unroll
        for (int j = 0; j < kTileColumns; ++j) {
          sums[i][j] += a[i0 + i] * a[kTile + j0 + j];
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kTileRows; ++i) {
#pragma unroll
    for (int j = 0; j < kTileColumns; ++j) {
      if (shape.splits > 1) {
        partial[static_cast<int64_t>(blockIdx.x) * kTile * kTile + (i0 + i) * kTile + j0 + j] =
            sums[i][j];
      } else {
        add_to_fisher(fisher, factored.columns, tile, i0 + i, j0 + j, scale * sums[i][j]);
      }
    }
  }
}

// One thread an element of a tile adds up the ranges of samples.
template <typename T>
__global__ __launch_bounds__(kGramThreads) void add_partial_tiles(const T* partial, GramShape shape,
                                                                  int64_t columns, T scale,
                                                                  T* fisher) {
  constexpr int kBlocksPerTile = kTile * kTile / kGramThreads;
  const int64_t tile = blockIdx.x / kBlocksPerTile;
  const auto element = static_cast<int>(blockIdx.x % kBlocksPerTile * kGramThreads + threadIdx.x);
  T sum = T(0);
  for (int64_t split = 0; split < shape.splits; ++split) {
    sum += partial[(split * shape.tiles + tile) * kTile * kTile + element];
  }
  add_to_fisher(fisher, columns, tile_index(tile), element / kTile, element % kTile, scale * sum);
}

template <typename T, typename Entry>
cudaError_t launch_fisher_accumulate(const FactoredJacobian<Entry>& factored, T scale, T* fisher,
                                     T* partial, cudaStream_t stream) {
  const GramShape shape = gram_shape(factored.samples, factored.columns);
  VKDNW_RETURN_IF_CUDA_FAILS(launch(gram_tiles<T, Entry>, shape.tiles * shape.splits, kGramThreads,
                                    kRowsAtOnce * kGramThreads * sizeof(T), stream, factored, shape,
                                    scale, fisher, partial));
  if (shape.splits == 1) {
    return cudaSuccess;
  }
  return launch(add_partial_tiles<T>, shape.tiles * (kTile * kTile / kGramThreads), kGramThreads, 0,
                stream, static_cast<const T*>(partial), shape, factored.columns, scale, fisher);
}

}  // namespace vkdnw::cuda
