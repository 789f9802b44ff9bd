// A batch of factors on the device, and the memory their spectra are computed in. Code that nvcc
// does not compile lays it out.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/sizes.h"
#include "kernels/cuda/spectrum_scaling.h"
#include "kernels/simd/host_device.h"

namespace vkdnw::cuda {

// Up to this many vectors a warp holds columns of the triangle in registers, a power of two of rows
// a lane; see block_jacobi.h.
inline constexpr int64_t kMostBlockColumns = 256;

VKDNW_HD inline int64_t padded_rows(int64_t vectors) {
  if (vectors > kMostBlockColumns) {
    return (vectors + kWarp - 1) / kWarp * kWarp;
  }
  int64_t rows = kWarp;
  while (rows < vectors) {
    rows *= 2;
  }
  return rows;
}

// Row-major factors [matrices, rows, columns]. Its columns are orthogonalised or, of a wide
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

  VKDNW_HD bool wide() const { return rows < columns; }
  VKDNW_HD int64_t vectors() const { return wide() ? rows : columns; }
  VKDNW_HD int64_t length() const { return wide() ? columns : rows; }
  VKDNW_HD int64_t padded() const { return padded_rows(vectors()); }

  VKDNW_HD const T* factor(int64_t matrix) const { return factors + matrix * rows * columns; }
  VKDNW_HD T* vector(int64_t matrix, int64_t j) const {
    return vector_data + (matrix * vectors() + j) * length();
  }
  VKDNW_HD T* norms_of(int64_t matrix, int64_t buffer) const {
    return norms + (matrix * 2 + buffer) * vectors();
  }
  VKDNW_HD T* triangle_column(int64_t matrix, int64_t k) const {
    return triangle + (matrix * vectors() + k) * padded();
  }
  // Matrices that hold a NaN, and those whose iteration has ended, are left alone.
  VKDNW_HD bool waiting(int64_t matrix) const {
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

}  // namespace vkdnw::cuda
