// Householder reflections of padded columns.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/spectrum/column_matrix.h"
#include "kernels/spectrum/spectrum_scaling.h"

namespace vkdnw::householder {

// I - scale v v^T maps rows [k, ...) of a column to beta e_k.
template <typename T>
struct Reflection {
  T scale;
  T beta;
};

// The whole vector in which row k lies begins here.
template <typename T>
inline int64_t first_vector(int64_t k) {
  return k / kLaneCount<T> * kLaneCount<T>;
}

// Writes v, zero above row k and 1 there, from the first vector on. `norm` is that of
// column[k, ...), not negligible.
template <typename T>
Reflection<T> reflection_of(const T* column, int64_t k, int64_t padded_rows, T norm, T* v) {
  const T beta = column[k] > T(0) ? -norm : norm;  // so that the pivot does not cancel
  const T pivot = column[k] - beta;
  std::fill(v + first_vector<T>(k), v + k, T(0));
  for (int64_t i = k; i < padded_rows; ++i) {
    v[i] = column[i] / pivot;
  }
  v[k] = T(1);
  return {-pivot / beta, beta};
}

template <typename T>
T squared_norm_from(const T* column, int64_t k, int64_t padded_rows) {
  const int64_t whole = std::min(round_up(k, kLaneCount<T>), padded_rows);
  T sum = T(0);
  for (int64_t i = k; i < whole; ++i) {
    sum += column[i] * column[i];
  }
  return sum + squared_norm(column + whole, padded_rows - whole);
}

template <typename T>
void reflect(const T* v, T scale, int64_t k, int64_t padded_rows, T* column) {
  const int64_t start = first_vector<T>(k);
  const T weight = scale * dot(v + start, column + start, padded_rows - start);
  for (int64_t i = start; i < padded_rows; i += kLaneCount<T>) {
    store_lanes(column + i, load_lanes(column + i) - weight * load_lanes(v + i));
  }
}

}  // namespace vkdnw::householder
