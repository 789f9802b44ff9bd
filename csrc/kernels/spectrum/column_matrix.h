// A matrix by columns, each starting at a whole vector and ending with zeros.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/simd/aligned_buffer.h"
#include "kernels/simd/lanes.h"

namespace vkdnw {

template <typename T>
class ColumnMatrix {
 public:
  // Zero everywhere.
  ColumnMatrix(int64_t rows, int64_t columns)
      : rows_(rows),
        columns_(columns),
        padded_(round_up(rows, kLaneCount<T>)),
        data_(padded_ * columns) {
    std::fill(data_.data(), data_.data() + padded_ * columns, T(0));
  }

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t padded_rows() const { return padded_; }
  T* column(int64_t index) { return data_.data() + index * padded_; }
  const T* column(int64_t index) const { return data_.data() + index * padded_; }

 private:
  int64_t rows_;
  int64_t columns_;
  int64_t padded_;
  AlignedBuffer<T> data_;
};

template <typename T>
T dot(const T* a, const T* b, int64_t padded_rows) {
  Lanes<T> sums[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLaneCount<T> <= padded_rows; i += 2 * kLaneCount<T>) {
    sums[0] += load_lanes(a + i) * load_lanes(b + i);
    sums[1] += load_lanes(a + i + kLaneCount<T>) * load_lanes(b + i + kLaneCount<T>);
  }
  if (i < padded_rows) {
    sums[0] += load_lanes(a + i) * load_lanes(b + i);
  }
  return sum_of_lanes<T>(sums[0] + sums[1]);
}

template <typename T>
T squared_norm(const T* column, int64_t padded_rows) {
  Lanes<T> sums[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLaneCount<T> <= padded_rows; i += 2 * kLaneCount<T>) {
    const Lanes<T> a = load_lanes(column + i);
    const Lanes<T> b = load_lanes(column + i + kLaneCount<T>);
    sums[0] += a * a;
    sums[1] += b * b;
  }
  if (i < padded_rows) {
    const Lanes<T> a = load_lanes(column + i);
    sums[0] += a * a;
  }
  return sum_of_lanes<T>(sums[0] + sums[1]);
}

}  // namespace vkdnw
