// Eigenvalues of A^T A from A: pivoted QR, then one-sided Jacobi on the triangle (Drmac and Veselic
// 2008). A^T A is never formed: that would lose every eigenvalue below eps times the largest.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/spectrum/blocked_qr.h"
#include "kernels/spectrum/column_matrix.h"
#include "kernels/spectrum/one_sided_jacobi.h"
#include "kernels/spectrum/pivoted_qr.h"
#include "kernels/spectrum/spectrum_scaling.h"

namespace vkdnw {

namespace spectrum {

// A row-major matrix.
template <typename T>
struct Factor {
  const T* data;
  int64_t rows;
  int64_t columns;

  int64_t size() const { return rows * columns; }
};

// The largest absolute value; infinity or NaN where one is not finite.
template <typename T>
T largest_magnitude(const Factor<T>& factor) {
  T largest = T(0);
  T zero_if_finite = T(0);
  for (int64_t i = 0; i < factor.size(); ++i) {
    largest = std::max(largest, std::abs(factor.data[i]));
    zero_if_finite += factor.data[i] * T(0);
  }
  return largest + zero_if_finite;
}

// The columns of a tall factor, scaled.
template <typename T>
ColumnMatrix<T> scaled_columns(const Factor<T>& factor, T scale) {
  constexpr int64_t kRowsAtOnce = 16;
  ColumnMatrix<T> a(factor.rows, factor.columns);
  for (int64_t first = 0; first < factor.rows; first += kRowsAtOnce) {
    const int64_t last = std::min(first + kRowsAtOnce, factor.rows);
    for (int64_t j = 0; j < factor.columns; ++j) {
      T* column = a.column(j);
      for (int64_t i = first; i < last; ++i) {
        column[i] = factor.data[i * factor.columns + j] * scale;
      }
    }
  }
  return a;
}

// The rows of a wide factor as columns, scaled, their entries in descending order of the factor's
// columns. Pivoted Householder QR then keeps each row of a graded matrix to its own relative
// accuracy (Cox and Higham 1998): a factor with small columns is graded so once transposed.
template <typename T>
ColumnMatrix<T> scaled_sorted_rows(const Factor<T>& factor, T scale) {
  std::vector<T> magnitude(factor.columns, T(0));
  for (int64_t i = 0; i < factor.rows; ++i) {
    for (int64_t j = 0; j < factor.columns; ++j) {
      magnitude[j] = std::max(magnitude[j], std::abs(factor.data[i * factor.columns + j]));
    }
  }
  std::vector<int64_t> order(factor.columns);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return magnitude[a] > magnitude[b]; });
  ColumnMatrix<T> a(factor.columns, factor.rows);
  for (int64_t i = 0; i < factor.rows; ++i) {
    for (int64_t j = 0; j < factor.columns; ++j) {
      a.column(i)[j] = factor.data[i * factor.columns + order[j]] * scale;
    }
  }
  return a;
}

// A square matrix with the singular values of a tall one. Where that is much taller, half of the
// work is saved; each column is as accurate as it was.
template <typename T>
ColumnMatrix<T> triangle_of(ColumnMatrix<T> a) {
  reduce_to_triangle(a);
  ColumnMatrix<T> triangle(a.columns(), a.columns());
  for (int64_t j = 0; j < a.columns(); ++j) {
    std::copy(a.column(j), a.column(j) + j + 1, triangle.column(j));
  }
  return triangle;
}

template <typename T>
ColumnMatrix<T> tall_matrix(const Factor<T>& factor, T scale) {
  if (factor.rows < factor.columns) {
    return scaled_sorted_rows(factor, scale);
  }
  ColumnMatrix<T> a = scaled_columns(factor, scale);
  return factor.rows > factor.columns + factor.columns / 2 ? triangle_of(std::move(a))
                                                           : std::move(a);
}

}  // namespace spectrum

// Writes the min(rows, columns) eigenvalues of factor^T factor that can differ from zero,
// ascending. `factor` is row-major, rows, columns >= 1.
template <typename T>
SpectrumStatus spectrum_from_factor(const T* data, int64_t rows, int64_t columns, T* eigenvalues) {
  using namespace spectrum;
  const Factor<T> factor{data, rows, columns};
  const int64_t count = std::min(rows, columns);
  const T largest = largest_magnitude(factor);
  if (!std::isfinite(largest)) {
    return SpectrumStatus::kNotFinite;
  }
  std::fill(eigenvalues, eigenvalues + count, T(0));
  if (largest == T(0)) {
    return SpectrumStatus::kDone;
  }
  const int exponent = scaling_exponent(factor.size(), largest);
  ColumnMatrix<T> a = tall_matrix(factor, std::ldexp(T(1), exponent));
  ColumnMatrix<T> x = pivoted_triangle_transposed(a);
  if (!orthogonalise_columns(x)) {
    return SpectrumStatus::kNotConverged;
  }
  for (int64_t j = 0; j < x.columns(); ++j) {
    T& eigenvalue = eigenvalues[count - 1 - j];
    eigenvalue = std::ldexp(squared_norm(x.column(j), x.padded_rows()), -2 * exponent);
    if (!std::isfinite(eigenvalue)) {
      return SpectrumStatus::kOverflow;
    }
  }
  std::sort(eigenvalues, eigenvalues + count);
  return SpectrumStatus::kDone;
}

}  // namespace vkdnw
