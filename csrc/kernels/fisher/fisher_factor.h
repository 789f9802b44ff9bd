// The factored Jacobian of a batch as a matrix.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/fisher/factor_sweep.h"

namespace vkdnw {

// factor = [samples * rows, columns], contiguous; `parallel_for` as in accumulate_fisher.
template <typename T, typename Entry, typename ParallelFor>
void write_fisher_factor(const FactoredJacobian<Entry>& factored, T* factor,
                         ParallelFor&& parallel_for) {
  constexpr int64_t kNumbersPerThread = 32 * 1024;
  const int64_t rows = factored.rows();
  const int64_t columns = factored.columns;
  const int64_t panels = (columns + kPanel<T> - 1) / kPanel<T>;
  const int64_t grain = kNumbersPerThread / (rows * kPanel<T>)+1;
  parallel_for(0, factored.samples * panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t sample = item / panels;
      const int64_t column = item % panels * kPanel<T>;
      const int64_t width = std::min(kPanel<T>, columns - column);
      T running[kPanel<T>] = {};
      sweep_rows<T>(factored, sample * rows, (sample + 1) * rows, column, running,
                    [&](int64_t row, const PanelRow<T>& values) {
                      T padded[kPanel<T>];
                      values.store_to(padded);
                      std::copy(padded, padded + width, factor + row * columns + column);
                    });
    }
  });
}

}  // namespace vkdnw
