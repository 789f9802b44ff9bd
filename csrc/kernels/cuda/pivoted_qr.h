// Householder QR with column pivoting, one launch a step: the vectors of all matrices take one
// reflection side by side.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "kernels/cuda/gather_vectors.h"

namespace vkdnw::cuda {

// The vector of the largest remaining norm, the first of equals. Vectors that are done have -1.
template <typename T>
struct Pivot {
  T norm;
  int index;
};

template <typename T>
__device__ Pivot<T> find_pivot(const T* norms, int vectors) {
  Pivot<T> best{T(-1), 0};
  for (int j = lane_index(); j < vectors; j += kWarp) {
    if (norms[j] > best.norm) {
      best = {norms[j], j};
    }
  }
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const T norm = __shfl_xor_sync(kAllLanes, best.norm, offset);
    const int index = __shfl_xor_sync(kAllLanes, best.index, offset);
    if (norm > best.norm || (norm == best.norm && index < best.index)) {
      best = {norm, index};
    }
  }
  return best;
}

// Reflects a vector by I - scale v v^T, v = inverse * pivot vector from row k on but for v_k = 1.
// Returns the squared norm below row k.
template <typename T>
__device__ T reflect(const T* pivot, T inverse, T scale, int64_t k, int64_t length, T* vector) {
  const T head = vector[k];
  T dot = T(0);
  for (int64_t i = k + 1 + lane_index(); i < length; i += kWarp) {
    dot += inverse * pivot[i] * vector[i];
  }
  const T weight = scale * (head + warp_sum(dot));
  T norm = T(0);
  for (int64_t i = k + 1 + lane_index(); i < length; i += kWarp) {
    const T reflected = vector[i] - weight * (inverse * pivot[i]);
    vector[i] = reflected;
    norm += reflected * reflected;
  }
  __syncwarp();  // all lanes have read the head: a shuffle orders no memory
  if (lane_index() == 0) {
    vector[k] = head - weight;
  }
  return warp_sum(norm);
}

// Step k. Each warp finds the pivot on its own and reflects its vector; the pivot vector stays as
// it was, so that all can read it, and its diagonal entry goes to `diagonal`. Norms are computed,
// not downdated; those of the next step go to the other buffer.
template <typename T>
__global__ __launch_bounds__(kSpectrumThreads) void reflect_vectors(SpectrumBatch<T> batch,
                                                                    int64_t blocks, int64_t k) {
  const int64_t matrix = blockIdx.x / blocks;
  const int64_t j = blockIdx.x % blocks * kSpectrumWarps + warp_index();
  const int64_t vectors = batch.vectors();
  if (j >= vectors || !batch.waiting(matrix)) {
    return;
  }
  const T* norms = batch.norms_of(matrix, k % 2);
  const Pivot<T> pivot = find_pivot(norms, static_cast<int>(vectors));
  const T* pivot_vector = batch.vector(matrix, pivot.index);
  const bool negligible = householder::negligible(pivot.norm);
  const T norm = std::sqrt(pivot.norm);
  const T beta = pivot_vector[k] > T(0) ? -norm : norm;  // so that the divisor does not cancel
  T next = norms[j];
  if (j == pivot.index) {
    next = T(-1);
  } else if (next >= T(0) && !negligible) {
    const T divisor = pivot_vector[k] - beta;
    next = reflect(pivot_vector, T(1) / divisor, -divisor / beta, k, batch.length(),
                   batch.vector(matrix, j));
  }
  if (lane_index() == 0) {
    batch.norms_of(matrix, (k + 1) % 2)[j] = next;
    if (j == pivot.index) {
      batch.order[matrix * vectors + k] = pivot.index;
      batch.diagonal[matrix * vectors + k] = negligible ? T(0) : beta;
    }
  }
}

// Column k of the transposed triangle is row k of R, in the order of the pivots; zero beyond the
// rank. A warp a column.
template <typename T>
__global__ __launch_bounds__(kSpectrumThreads) void gather_triangle(SpectrumBatch<T> batch,
                                                                    int64_t blocks) {
  const int64_t matrix = blockIdx.x / blocks;
  const int64_t k = blockIdx.x % blocks * kSpectrumWarps + warp_index();
  const int64_t vectors = batch.vectors();
  if (k >= vectors || !batch.waiting(matrix)) {
    return;
  }
  const T diagonal = batch.diagonal[matrix * vectors + k];
  T* column = batch.triangle_column(matrix, k);
  for (int64_t j = lane_index(); j < batch.padded(); j += kWarp) {
    T entry = T(0);
    if (diagonal != T(0) && j < vectors && j >= k) {
      entry = j == k ? diagonal : batch.vector(matrix, batch.order[matrix * vectors + j])[k];
    }
    column[j] = entry;
  }
}

template <typename T>
cudaError_t launch_pivoted_qr(const SpectrumBatch<T>& batch, cudaStream_t stream) {
  const int64_t blocks = blocks_for(batch.vectors(), kSpectrumWarps);
  const int64_t all = batch.matrices * blocks;
  for (int64_t k = 0; k < batch.vectors(); ++k) {
    VKDNW_RETURN_IF_CUDA_FAILS(
        launch(reflect_vectors<T>, all, kSpectrumThreads, 0, stream, batch, blocks, k));
  }
  return launch(gather_triangle<T>, all, kSpectrumThreads, 0, stream, batch, blocks);
}

}  // namespace vkdnw::cuda
