// The sweep over the classes that turns a panel of columns of the Jacobian into the factor's rows.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/fisher/softmax_factor.h"
#include "kernels/simd/simd.h"

namespace vkdnw {

// Columns handled together: two vectors.
inline constexpr int64_t kVectorsPerPanel = 2;

template <typename T>
inline constexpr int64_t kVectorSize = kNativeBytes / static_cast<int64_t>(sizeof(T));

template <typename T>
inline constexpr int64_t kPanel = kVectorsPerPanel * kVectorSize<T>;

template <typename T>
struct PanelRow {
  Simd<T, kNativeBytes> vectors[kVectorsPerPanel];

  void store_to(T* target) const {
    for (int64_t v = 0; v < kVectorsPerPanel; ++v) {
      store_simd<kNativeBytes>(target + v * kVectorSize<T>, vectors[v]);
    }
  }
};

// The first `width` numbers of `source`, then zeros.
template <typename T, typename Entry>
inline PanelRow<T> load_row(const Entry* source, int64_t width) {
  Entry padded[kPanel<T>] = {};
  if (width < kPanel<T>) {
    std::copy(source, source + width, padded);
    source = padded;
  }
  PanelRow<T> row;
  for (int64_t v = 0; v < kVectorsPerPanel; ++v) {
    row.vectors[v] = load_converted<T, kNativeBytes>(source + v * kVectorSize<T>);
  }
  return row;
}

// The row of one step; moves the running sums on.
template <typename T>
inline PanelRow<T> apply_step(const FactorStep& step, const PanelRow<T>& own, PanelRow<T>& sums) {
  PanelRow<T> row;
  for (int64_t v = 0; v < kVectorsPerPanel; ++v) {
    row.vectors[v] =
        static_cast<T>(step.own) * own.vectors[v] + static_cast<T>(step.sum) * sums.vectors[v];
    sums.vectors[v] += static_cast<T>(step.carry) * own.vectors[v];
  }
  return row;
}

// Computes rows [first, last) of the factor for columns [column, column + kPanel) and hands each
// to store(row, PanelRow), with zeros beyond the last column. `running` is the running sum of these
// columns: it carries a sample from one range of rows to the next.
template <typename T, typename Entry, typename Store>
void sweep_rows(const FactoredJacobian<Entry>& factored, int64_t first, int64_t last,
                int64_t column, T* running, Store&& store) {
  const int64_t rows = factored.rows();
  const int64_t width = std::min(factored.columns - column, kPanel<T>);
  int64_t sample = first / rows;
  int64_t step = first % rows;
  PanelRow<T> sums = load_row<T>(running, kPanel<T>);
  for (int64_t at = first; at < last; ++at) {
    const int64_t row = row_of_step(factored.convention, factored.classes, step);
    PanelRow<T> own{};
    if (row < factored.classes - 1) {
      own = load_row<T>(factored.jacobian + sample * factored.sample_stride +
                            row * factored.class_stride + column,
                        width);
    }
    if (step == 0) {
      sums = {};
    }
    store(sample * rows + row, apply_step(factored.steps[at], own, sums));
    if (++step == rows) {
      step = 0;
      ++sample;
    }
  }
  sums.store_to(running);
}

}  // namespace vkdnw
