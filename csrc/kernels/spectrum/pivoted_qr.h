// Householder QR with column pivoting.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/spectrum/column_matrix.h"
#include "kernels/spectrum/householder.h"

namespace vkdnw {

namespace pivoted_qr {

inline constexpr int64_t kTogether = 4;  // columns that share the loads of a vector

// Reflects kCount columns from row k on; norms[c] = squared norm of column c below row k.
template <int64_t kCount, typename T>
void reflect(const T* v, T scale, int64_t k, int64_t padded_rows, T* const* columns, T* norms) {
  const int64_t start = householder::first_vector<T>(k);
  Lanes<T> sums[kCount] = {};
  for (int64_t i = start; i < padded_rows; i += kLaneCount<T>) {
    const Lanes<T> direction = load_lanes(v + i);
    for (int64_t c = 0; c < kCount; ++c) {
      sums[c] += direction * load_lanes(columns[c] + i);
    }
  }
  T weights[kCount];
  for (int64_t c = 0; c < kCount; ++c) {
    weights[c] = scale * sum_of_lanes<T>(sums[c]);
    sums[c] = Lanes<T>{};
  }
  Lanes<T> below = {};  // one where the first vector lies below row k
  for (int64_t i = 0; i < kLaneCount<T>; ++i) {
    below[i] = start + i > k ? T(1) : T(0);
  }
  for (int64_t i = start; i < padded_rows; i += kLaneCount<T>) {
    const Lanes<T> direction = load_lanes(v + i);
    for (int64_t c = 0; c < kCount; ++c) {
      const Lanes<T> reflected = load_lanes(columns[c] + i) - weights[c] * direction;
      store_lanes(columns[c] + i, reflected);
      sums[c] += i == start ? below * reflected * reflected : reflected * reflected;
    }
  }
  for (int64_t c = 0; c < kCount; ++c) {
    norms[c] = sum_of_lanes<T>(sums[c]);
  }
}

}  // namespace pivoted_qr

// The transpose of R, lower triangular [columns, rank], for A Pi = Q R with rows >= columns: each
// step takes the column of the largest remaining norm, computed and not downdated. Rows of R from
// which on all are negligible are left out. A is destroyed.
template <typename T>
ColumnMatrix<T> pivoted_triangle_transposed(ColumnMatrix<T>& a) {
  using namespace pivoted_qr;
  const int64_t n = a.columns();
  const int64_t padded = a.padded_rows();
  std::vector<T*> columns(n);
  std::vector<T> norms(n);
  for (int64_t j = 0; j < n; ++j) {
    columns[j] = a.column(j);
    norms[j] = squared_norm(columns[j], padded);
  }
  AlignedBuffer<T> v(padded);
  int64_t rank = 0;
  for (; rank < n; ++rank) {
    const int64_t k = rank;
    const int64_t pivot = std::max_element(norms.begin() + k, norms.end()) - norms.begin();
    if (householder::negligible(norms[pivot])) {
      break;
    }
    std::swap(columns[k], columns[pivot]);
    std::swap(norms[k], norms[pivot]);
    const auto [scale, beta] =
        householder::reflection_of(columns[k], k, padded, std::sqrt(norms[k]), v.data());
    columns[k][k] = beta;
    int64_t j = k + 1;
    for (; j + kTogether <= n; j += kTogether) {
      reflect<kTogether>(v.data(), scale, k, padded, columns.data() + j, norms.data() + j);
    }
    for (; j < n; ++j) {
      reflect<1>(v.data(), scale, k, padded, columns.data() + j, norms.data() + j);
    }
  }
  ColumnMatrix<T> triangle(n, rank);
  for (int64_t k = 0; k < rank; ++k) {
    for (int64_t j = k; j < n; ++j) {
      triangle.column(k)[j] = columns[j][k];
    }
  }
  return triangle;
}

}  // namespace vkdnw
