// A batch of factors on the device, the memory their spectra are computed in, and the factors'
// columns in it, scaled.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp.h"
#include "kernels/spectrum_scaling.h"

namespace vkdnw::cuda {

inline constexpr int kSpectrumThreads = 256;
inline constexpr int kSpectrumWarps = kSpectrumThreads / kWarp;

// Up to this many vectors a warp holds columns of the triangle in registers, a power of two of rows
// a lane; see block_jacobi.h.
inline constexpr int64_t kMostBlockColumns = 256;

__host__ __device__ inline int64_t padded_rows(int64_t vectors) {
  if (vectors > kMostBlockColumns) {
    return (vectors + kWarp - 1) / kWarp * kWarp;
  }
  int64_t rows = kWarp;
  while (rows < vectors) {
    rows *= 2;
  }
  return rows;
}

// Row-major factors [matrices, rows, columns]. What is orthogonalised are its columns or, of a wide
// factor, its rows: `vectors` of them, each of `length` >= vectors numbers.
template <typename T>
struct SpectrumBatch {
  const T* factors;
  int64_t matrices;
  int64_t rows;
  int64_t columns;

  // Device memory, for each matrix:
  T* vector_data;          // [vectors, length]
  T* norms;                // [2, vectors], squared
  T* diagonal;             // [vectors] of the triangle; zero beyond its rank
  T* triangle;             // [vectors, padded], the transposed triangle by columns
  T* rotated;              // [vectors, 2]: see pair_jacobi.h
  int32_t* order;          // [vectors]: which vector became the k-th
  int32_t* place;          // [columns]: of a wide factor, see place_columns
  int32_t* exponent;       // of the scaling
  SpectrumStatus* status;  // kNotConverged until the iteration has converged
  T* eigenvalues;          // [vectors], ascending

  __host__ __device__ bool wide() const { return rows < columns; }
  __host__ __device__ int64_t vectors() const { return wide() ? rows : columns; }
  __host__ __device__ int64_t length() const { return wide() ? columns : rows; }
  __host__ __device__ int64_t padded() const { return padded_rows(vectors()); }

  __device__ const T* factor(int64_t matrix) const { return factors + matrix * rows * columns; }
  __device__ T* vector(int64_t matrix, int64_t j) const {
    return vector_data + (matrix * vectors() + j) * length();
  }
  __device__ T* norms_of(int64_t matrix, int64_t buffer) const {
    return norms + (matrix * 2 + buffer) * vectors();
  }
  __device__ T* triangle_column(int64_t matrix, int64_t k) const {
    return triangle + (matrix * vectors() + k) * padded();
  }
  // Matrices that hold a NaN, and those whose iteration has ended, are left alone.
  __device__ bool waiting(int64_t matrix) const {
    return status[matrix] == SpectrumStatus::kNotConverged;
  }
};

// Lays out the workspace; with begin = nullptr only to learn its size.
template <typename T>
int64_t place_workspace(SpectrumBatch<T>& batch, unsigned char* begin) {
  int64_t at = 0;
  const auto place = [&](auto*& pointer, int64_t per_matrix) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(begin + at);
    const int64_t bytes = batch.matrices * per_matrix * static_cast<int64_t>(sizeof(*pointer));
    at += (bytes + 15) / 16 * 16;
  };
  const int64_t vectors = batch.vectors();
  place(batch.status, 1);  // first, where the host finds it
  place(batch.exponent, 1);
  place(batch.vector_data, vectors * batch.length());
  place(batch.norms, 2 * vectors);
  place(batch.diagonal, vectors);
  place(batch.triangle, vectors * batch.padded());
  place(batch.rotated, 2 * vectors);
  place(batch.order, vectors);
  place(batch.place, batch.wide() ? batch.columns : 0);
  return at;
}

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
