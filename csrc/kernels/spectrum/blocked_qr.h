// Householder QR without pivoting, a panel of columns at a time.
//
// The reflections of a panel are applied together, H_1 ... H_b = I - V T V^T (Schreiber and Van
// Loan 1989), so that a trailing column passes through the cache once for all of them.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/spectrum/column_matrix.h"
#include "kernels/spectrum/householder.h"

namespace vkdnw {

namespace blocked_qr {

inline constexpr int64_t kPanelColumns = 4;
inline constexpr int64_t kTogether = 4;  // trailing columns

template <typename T>
struct Panel {
  explicit Panel(int64_t padded_rows) : padded_rows(padded_rows), v(kPanelColumns * padded_rows) {}

  T* vector(int64_t i) { return v.data() + i * padded_rows; }
  const T* vector(int64_t i) const { return v.data() + i * padded_rows; }

  int64_t padded_rows;
  int64_t start = 0;  // first row that any vector reaches, rounded down to a whole vector
  AlignedBuffer<T> v;
  T t[kPanelColumns][kPanelColumns] = {};  // upper triangular
};

// products[i][c] = v_i . column_c
template <int64_t kCount, typename T>
void dot_with_panel(const Panel<T>& panel, T* const* columns,
                    T (&products)[kPanelColumns][kCount]) {
  Lanes<T> sums[kPanelColumns][kCount] = {};
  for (int64_t at = panel.start; at < panel.padded_rows; at += kLaneCount<T>) {
    Lanes<T> entries[kCount];
    for (int64_t c = 0; c < kCount; ++c) {
      entries[c] = load_lanes(columns[c] + at);
    }
    for (int64_t i = 0; i < kPanelColumns; ++i) {
      const Lanes<T> direction = load_lanes(panel.vector(i) + at);
      for (int64_t c = 0; c < kCount; ++c) {
        sums[i][c] += direction * entries[c];
      }
    }
  }
  for (int64_t i = 0; i < kPanelColumns; ++i) {
    for (int64_t c = 0; c < kCount; ++c) {
      products[i][c] = sum_of_lanes<T>(sums[i][c]);
    }
  }
}

// columns -= V weights
template <int64_t kCount, typename T>
void subtract_panel(const Panel<T>& panel, const T (&weights)[kPanelColumns][kCount],
                    T* const* columns) {
  for (int64_t at = panel.start; at < panel.padded_rows; at += kLaneCount<T>) {
    Lanes<T> directions[kPanelColumns];
    for (int64_t i = 0; i < kPanelColumns; ++i) {
      directions[i] = load_lanes(panel.vector(i) + at);
    }
    for (int64_t c = 0; c < kCount; ++c) {
      Lanes<T> entries = load_lanes(columns[c] + at);
      for (int64_t i = 0; i < kPanelColumns; ++i) {
        entries -= weights[i][c] * directions[i];
      }
      store_lanes(columns[c] + at, entries);
    }
  }
}

template <int64_t kCount, typename T>
void apply_panel(const Panel<T>& panel, T* const* columns) {
  T products[kPanelColumns][kCount];
  dot_with_panel<kCount>(panel, columns, products);
  T weights[kPanelColumns][kCount] = {};
  for (int64_t i = 0; i < kPanelColumns; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      for (int64_t c = 0; c < kCount; ++c) {
        weights[i][c] += panel.t[j][i] * products[j][c];
      }
    }
  }
  subtract_panel<kCount>(panel, weights, columns);
}

// Column j of T, for the reflection I - scale v_j v_j^T after those before it.
template <typename T>
void extend_t(Panel<T>& panel, int64_t j, T scale) {
  T against[kPanelColumns] = {};
  for (int64_t i = 0; i < j; ++i) {
    against[i] = dot(panel.vector(i) + panel.start, panel.vector(j) + panel.start,
                     panel.padded_rows - panel.start);
  }
  for (int64_t i = 0; i < kPanelColumns; ++i) {
    panel.t[i][j] = T(0);
    for (int64_t l = i; l < j; ++l) {
      panel.t[i][j] -= scale * panel.t[i][l] * against[l];
    }
  }
  panel.t[j][j] = scale;
}

// Reduces columns [k, k + count) and leaves their reflections in the panel.
template <typename T>
void factor_panel(ColumnMatrix<T>& a, int64_t k, int64_t count, Panel<T>& panel) {
  const int64_t padded = a.padded_rows();
  panel.start = k / kLaneCount<T> * kLaneCount<T>;
  for (int64_t j = 0; j < kPanelColumns; ++j) {
    std::fill(panel.vector(j) + panel.start, panel.vector(j) + padded, T(0));
    for (int64_t i = 0; i < kPanelColumns; ++i) {
      panel.t[i][j] = T(0);
    }
  }
  for (int64_t j = 0; j < count; ++j) {
    T* column = a.column(k + j);
    const T squared = householder::squared_norm_from(column, k + j, padded);
    if (householder::negligible(squared)) {
      continue;
    }
    const auto [scale, beta] =
        householder::reflection_of(column, k + j, padded, std::sqrt(squared), panel.vector(j));
    std::fill(column + k + j, column + padded, T(0));
    column[k + j] = beta;
    for (int64_t c = j + 1; c < count; ++c) {
      householder::reflect(panel.vector(j), scale, k + j, padded, a.column(k + c));
    }
    extend_t(panel, j, scale);
  }
}

}  // namespace blocked_qr

// Overwrites a tall matrix, rows >= columns, with R of A = Q R.
template <typename T>
void reduce_to_triangle(ColumnMatrix<T>& a) {
  using namespace blocked_qr;
  const int64_t n = a.columns();
  Panel<T> panel(a.padded_rows());
  for (int64_t k = 0; k < n; k += kPanelColumns) {
    const int64_t count = std::min(kPanelColumns, n - k);
    factor_panel(a, k, count, panel);
    int64_t j = k + count;
    for (; j + kTogether <= n; j += kTogether) {
      T* columns[kTogether];
      for (int64_t c = 0; c < kTogether; ++c) {
        columns[c] = a.column(j + c);
      }
      apply_panel<kTogether>(panel, columns);
    }
    for (; j < n; ++j) {
      T* column = a.column(j);
      apply_panel<1>(panel, &column);
    }
  }
}

}  // namespace vkdnw
