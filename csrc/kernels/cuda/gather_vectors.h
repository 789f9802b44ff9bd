// The columns of factors, or the rows of wide ones, scaled and laid out as vectors.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/spectrum_batch.h"
#include "kernels/cuda/spectrum_scaling.h"
#include "kernels/cuda/warp.h"

namespace vkdnw::cuda {

inline constexpr int kSpectrumThreads = 256;
inline constexpr int kSpectrumWarps = kSpectrumThreads / kWarp;

// A block a matrix: the power of two to scale by, or that an entry is not finite.
template <typename T>
__global__ __launch_bounds__(kSpectrumThreads) void measure_factors(SpectrumBatch<T> batch) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  T* scratch = reinterpret_cast<T*>(shared_bytes);
  const int64_t matrix = blockIdx.x;
  const int64_t size = batch.rows * batch.columns;
  const T* entries = batch.factor(matrix);
  T largest = T(0);
  T zero_if_finite = T(0);
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < size; i += kSpectrumThreads) {
    largest = larger(largest, std::abs(entries[i]));
    zero_if_finite += entries[i] * T(0);
  }
  const T most = block_max(largest, scratch) + block_sum(zero_if_finite, scratch + kSpectrumWarps);
  if (threadIdx.x == 0) {
    batch.status[matrix] =
        most < T(HUGE_VAL) ? SpectrumStatus::kNotConverged : SpectrumStatus::kNotFinite;
    batch.exponent[matrix] =
        most > T(0) && most < T(HUGE_VAL) ? spectrum::scaling_exponent(size, most) : 0;
  }
}

// Of a wide factor: the place of each column in descending order of the columns' largest entries.
// Pivoted QR then keeps each of the columns that are short by far to its own accuracy (Cox and
// Higham 1998).
template <typename T>
__global__ __launch_bounds__(kSpectrumThreads) void largest_of_columns(SpectrumBatch<T> batch,
                                                                       int64_t blocks) {
  const int64_t matrix = blockIdx.x / blocks;
  const int64_t j = blockIdx.x % blocks * kSpectrumThreads + threadIdx.x;
  if (j < batch.columns) {
    T largest = T(0);
    for (int64_t i = 0; i < batch.rows; ++i) {
      largest = larger(largest, std::abs(batch.factor(matrix)[i * batch.columns + j]));
    }
    batch.vector_data[matrix * batch.rows * batch.columns + j] = largest;
  }
}

template <typename T>
__global__ __launch_bounds__(kSpectrumThreads) void place_columns(SpectrumBatch<T> batch,
                                                                  int64_t blocks) {
  const int64_t matrix = blockIdx.x / blocks;
  const int64_t j = blockIdx.x % blocks * kSpectrumThreads + threadIdx.x;
  if (j < batch.columns) {
    const T* largest = batch.vector_data + matrix * batch.rows * batch.columns;
    int32_t before = 0;
    for (int64_t l = 0; l < batch.columns; ++l) {
      before += largest[l] > largest[j] || (largest[l] == largest[j] && l < j);
    }
    batch.place[matrix * batch.columns + j] = before;
  }
}

template <typename T>
__global__ __launch_bounds__(kSpectrumThreads) void gather_vectors(SpectrumBatch<T> batch,
                                                                   int64_t blocks) {
  const int64_t matrix = blockIdx.x / blocks;
  const int64_t entry = blockIdx.x % blocks * kSpectrumThreads + threadIdx.x;
  if (entry < batch.rows * batch.columns) {
    const int64_t i = entry / batch.columns;
    const int64_t j = entry % batch.columns;
    const T value = batch.factor(matrix)[entry] * std::ldexp(T(1), batch.exponent[matrix]);
    if (batch.wide()) {
      batch.vector(matrix, i)[batch.place[matrix * batch.columns + j]] = value;
    } else {
      batch.vector(matrix, j)[i] = value;
    }
  }
}

// A warp a vector: squared norms, into the first buffer.
template <typename T>
__global__ __launch_bounds__(kSpectrumThreads) void measure_vectors(SpectrumBatch<T> batch,
                                                                    int64_t blocks) {
  const int64_t matrix = blockIdx.x / blocks;
  const int64_t j = blockIdx.x % blocks * kSpectrumWarps + warp_index();
  if (j < batch.vectors()) {
    const T* vector = batch.vector(matrix, j);
    T sum = T(0);
    for (int64_t i = lane_index(); i < batch.length(); i += kWarp) {
      sum += vector[i] * vector[i];
    }
    sum = warp_sum(sum);
    if (lane_index() == 0) {
      batch.norms_of(matrix, 0)[j] = sum;
    }
  }
}

template <typename T>
cudaError_t launch_gather(const SpectrumBatch<T>& batch, cudaStream_t stream) {
  const auto each = [&](auto kernel, int64_t items, int64_t per_block) {
    const int64_t blocks = blocks_for(items, per_block);
    return launch(kernel, batch.matrices * blocks, kSpectrumThreads, 0, stream, batch, blocks);
  };
  VKDNW_RETURN_IF_CUDA_FAILS(launch(measure_factors<T>, batch.matrices, kSpectrumThreads,
                                    2 * kSpectrumWarps * sizeof(T), stream, batch));
  if (batch.wide()) {
    VKDNW_RETURN_IF_CUDA_FAILS(each(largest_of_columns<T>, batch.columns, kSpectrumThreads));
    VKDNW_RETURN_IF_CUDA_FAILS(each(place_columns<T>, batch.columns, kSpectrumThreads));
  }
  const int64_t size = batch.rows * batch.columns;
  VKDNW_RETURN_IF_CUDA_FAILS(each(gather_vectors<T>, size, kSpectrumThreads));
  return each(measure_vectors<T>, batch.vectors(), kSpectrumWarps);
}

}  // namespace vkdnw::cuda
