// One-sided Jacobi of matrices of up to 256 columns, one block a matrix, all sweeps in one launch.
//
// Blocks of four columns meet in rounds of a tournament. A warp holds the two blocks that meet in
// registers, a few rows a lane, and rotates their pairs four at a time: the columns are fetched,
// and the warps wait for one another, once for sixteen pairs. In between the columns live in shared
// memory where the device has enough, and else in global memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/gather_vectors.h"
#include "kernels/cuda/rotation.h"

namespace vkdnw::cuda {

inline constexpr int kBlockColumns = 4;

// Few enough for a warp's columns to stay in registers.
template <typename T, int kRows>
inline constexpr int kBlockJacobiThreads = kRows * sizeof(T) > 32 ? 256 : 512;

// Sums over lanes that are waited for together: as many as fit beside the columns.
template <typename T, int kRows>
inline constexpr int kSumsTogether = sizeof(T) == 8 && kRows == 4 ? 1 : kBlockColumns;

// Two blocks of columns; row `lane + 32 r` of each is element r. Their norms stay in shared memory:
// registers limit the number of warps.
template <typename T, int kRows>
struct TwoBlocks {
  T column[2 * kBlockColumns][kRows];
  T* first_norms;
  T* second_norms;

  __device__ T& norm(int c) const {
    return c < kBlockColumns ? first_norms[c] : second_norms[c - kBlockColumns];
  }
};

// The four disjoint pairs whose columns' numbers differ by `mask`: 1 to 3 lie within the blocks,
// 4 to 7 across them, and the seven masks make up all pairs of eight columns.
template <int kMask>
__host__ __device__ constexpr int first_of_pair(int pair) {
  constexpr int kHigh = kMask >= 4 ? 4 : kMask >= 2 ? 2 : 1;
  return pair / kHigh * 2 * kHigh + pair % kHigh;
}

// After a rotation, of which `second` is a column.
template <typename T, int kRows>
__device__ void update_norms(const Rotation<T>& rotation, const T (&second)[kRows], T& first_norm,
                             T& second_norm) {
  const T large = rotation.swapped ? second_norm : first_norm;
  const T small = rotation.swapped ? first_norm : second_norm;
  T updated = small + rotation.transfer;
  if (norm_has_cancelled(updated, small)) {  // alike in all lanes
    T sum = T(0);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      sum += second[r] * second[r];
    }
    updated = warp_sum(sum);
  }
  __syncwarp();
  if (lane_index() == 0) {
    first_norm = large - rotation.transfer;
    second_norm = updated;
  }
  __syncwarp();
}

template <int kMask, typename T, int kRows>
__device__ T product_of_pair(const TwoBlocks<T, kRows>& blocks, int pair) {
  const int p = first_of_pair<kMask>(pair);
  T product = T(0);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    product += blocks.column[p][r] * blocks.column[p ^ kMask][r];
  }
  return product;
}

template <int kMask, typename T, int kRows>
__device__ void meet_pair(TwoBlocks<T, kRows>& blocks, int pair, T product, T tolerance,
                          Largest<T>& largest) {
  const int p = first_of_pair<kMask>(pair);
  const int q = p ^ kMask;
  const Rotation<T> rotation(product, blocks.norm(p), blocks.norm(q), tolerance);
  if (rotation.wanted) {  // alike in all lanes
    rotation.note(largest);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      rotation.apply(blocks.column[p][r], blocks.column[q][r]);
    }
    update_norms(rotation, blocks.column[q], blocks.norm(p), blocks.norm(q));
  }
}

// Sums over lanes take long and need not wait for one another.
template <int kMask, typename T, int kRows>
__device__ void meet_pairs(TwoBlocks<T, kRows>& blocks, T tolerance, Largest<T>& largest) {
  constexpr int kTogether = kSumsTogether<T, kRows>;
#pragma unroll
  for (int first = 0; first < kBlockColumns; first += kTogether) {
    T product[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      product[i] = product_of_pair<kMask>(blocks, first + i);
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      product[i] = warp_sum(product[i]);
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      meet_pair<kMask>(blocks, first + i, product[i], tolerance, largest);
    }
  }
}

// The columns of one matrix between rounds, and their norms in shared memory.
template <typename T, int kRows>
struct ColumnStore {
  T* columns;  // [count, 32 kRows], shared or global
  T* norms;    // [players() * kBlockColumns], squared; zero beyond count
  int count;

  // An even number of blocks.
  __host__ __device__ static int players(int count) {
    return (count + 2 * kBlockColumns - 1) / (2 * kBlockColumns) * 2;
  }

  __device__ int column_of(const Match& meeting, int c) const {
    const int block = c < kBlockColumns ? meeting.first : meeting.second;
    return block * kBlockColumns + c % kBlockColumns;
  }

  // Columns beyond the last are zero.
  __device__ void load(const Match& meeting, TwoBlocks<T, kRows>& blocks) const {
    blocks.first_norms = norms + meeting.first * kBlockColumns;
    blocks.second_norms = norms + meeting.second * kBlockColumns;
#pragma unroll
    for (int c = 0; c < 2 * kBlockColumns; ++c) {
      const int number = column_of(meeting, c);
      const bool exists = number < count;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        blocks.column[c][r] =
            exists ? columns[number * kRows * kWarp + r * kWarp + lane_index()] : T(0);
      }
    }
  }

  __device__ void store(const Match& meeting, const TwoBlocks<T, kRows>& blocks) const {
#pragma unroll
    for (int c = 0; c < 2 * kBlockColumns; ++c) {
      const int number = column_of(meeting, c);
      if (number < count) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          columns[number * kRows * kWarp + r * kWarp + lane_index()] = blocks.column[c][r];
        }
      }
    }
  }

  __device__ void measure() const {
    const int places = players(count) * kBlockColumns;
    for (int c = warp_index(); c < places; c += static_cast<int>(blockDim.x) / kWarp) {
      T sum = T(0);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const T x = c < count ? columns[c * kRows * kWarp + r * kWarp + lane_index()] : T(0);
        sum += x * x;
      }
      sum = warp_sum(sum);
      if (lane_index() == 0) {
        norms[c] = sum;
      }
    }
    __syncthreads();
  }
};

// Every pair of columns meets once.
template <typename T, int kRows>
__device__ Largest<T> sweep(const ColumnStore<T, kRows>& store, T tolerance) {
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int players = store.players(store.count);
  Largest<T> largest;
  store.measure();
  for (int round = 0; round < players - 1; ++round) {
    for (int number = warp_index(); number < players / 2; number += warps) {
      const Match meeting = match(players, round, number);
      TwoBlocks<T, kRows> two;
      store.load(meeting, two);
      if (round == 0) {  // in which every block takes part once
        meet_pairs<1>(two, tolerance, largest);
        meet_pairs<2>(two, tolerance, largest);
        meet_pairs<3>(two, tolerance, largest);
      }
      meet_pairs<4>(two, tolerance, largest);
      meet_pairs<5>(two, tolerance, largest);
      meet_pairs<6>(two, tolerance, largest);
      meet_pairs<7>(two, tolerance, largest);
      store.store(meeting, two);
    }
    __syncthreads();
  }
  return largest;
}

// Leaves the squared norms of the orthogonal columns in the batch's first buffer.
template <typename T, int kRows>
__global__ __launch_bounds__((kBlockJacobiThreads<T, kRows>)) void orthogonalise(
    SpectrumBatch<T> batch, bool columns_in_shared) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  const int64_t matrix = blockIdx.x;
  if (!batch.waiting(matrix)) {
    return;
  }
  const auto count = static_cast<int>(batch.vectors());
  const int size = count * kRows * kWarp;
  T* norms = reinterpret_cast<T*>(shared_bytes);
  T* maxima = norms + ColumnStore<T, kRows>::players(count) * kBlockColumns;  // [2, warps]
  T* shared_columns = maxima + 2 * kBlockJacobiThreads<T, kRows> / kWarp;
  T* triangle = batch.triangle_column(matrix, 0);
  if (columns_in_shared) {
    for (int i = static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x)) {
      shared_columns[i] = triangle[i];
    }
    __syncthreads();
  }
  const ColumnStore<T, kRows> store{columns_in_shared ? shared_columns : triangle, norms, count};
  const T tolerance = squared_tolerance<T>(count);
  bool converged = false;
  for (int number = 0; number < jacobi::kMostSweeps && !converged; ++number) {
    const Largest<T> mine = sweep(store, tolerance);
    const Largest<T> largest{block_max(mine.squared_cosine, maxima),
                             block_max(mine.sine, maxima + blockDim.x / kWarp)};
    converged = largest.converged(count, tolerance);
  }
  store.measure();
  for (int c = static_cast<int>(threadIdx.x); c < count; c += static_cast<int>(blockDim.x)) {
    batch.norms_of(matrix, 0)[c] = norms[c];
  }
  if (threadIdx.x == 0 && converged) {
    batch.status[matrix] = SpectrumStatus::kDone;
  }
}

template <typename T, int kRows>
cudaError_t launch_block_jacobi_of_rows(const SpectrumBatch<T>& batch, cudaStream_t stream) {
  constexpr int kThreads = kBlockJacobiThreads<T, kRows>;
  const int64_t count = batch.vectors();
  const int64_t places = ColumnStore<T, kRows>::players(static_cast<int>(count)) * kBlockColumns;
  const int64_t few = (places + 2 * kThreads / kWarp) * static_cast<int64_t>(sizeof(T));
  const int64_t all = few + count * kRows * kWarp * static_cast<int64_t>(sizeof(T));
  int64_t most = 0;
  VKDNW_RETURN_IF_CUDA_FAILS(most_shared_bytes(most));
  const bool in_shared = all <= most;
  const int64_t bytes = in_shared ? all : few;
  // Always the most there is: two host threads that launch different sizes set the same value.
  VKDNW_RETURN_IF_CUDA_FAILS(cudaFuncSetAttribute(orthogonalise<T, kRows>,
                                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                  static_cast<int>(most)));
  return launch(orthogonalise<T, kRows>, batch.matrices, kThreads, bytes, stream, batch, in_shared);
}

// For matrices of up to kMostBlockColumns vectors.
template <typename T>
cudaError_t launch_block_jacobi(const SpectrumBatch<T>& batch, cudaStream_t stream) {
  switch (batch.padded() / kWarp) {
    case 1:
      return launch_block_jacobi_of_rows<T, 1>(batch, stream);
    case 2:
      return launch_block_jacobi_of_rows<T, 2>(batch, stream);
    case 4:
      return launch_block_jacobi_of_rows<T, 4>(batch, stream);
    default:
      return launch_block_jacobi_of_rows<T, 8>(batch, stream);
  }
}

}  // namespace vkdnw::cuda
