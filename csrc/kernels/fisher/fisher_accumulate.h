// fisher += scale * A^T A with A the factored Jacobian of a batch, which exists one tile of rows
// at a time.
#pragma once

#include <cstdint>

#include "kernels/fisher/factor_sweep.h"
#include "kernels/fisher/gram_update.h"
#include "kernels/fisher/softmax_factor.h"
#include "kernels/simd/aligned_buffer.h"

namespace vkdnw {

// `parallel_for(begin, end, grain, f)` calls f(first, last) on ranges that cover [begin, end).
// Only the lower triangle of `fisher`, [columns, columns] contiguous, is read; on return it is
// exactly symmetric. Every element is summed in one fixed order.
template <typename T, typename Entry, typename ParallelFor>
void accumulate_fisher(const FactoredJacobian<Entry>& factored, T scale, T* fisher,
                       ParallelFor&& parallel_for) {
  constexpr int64_t kWorkPerThread = 64 * 1024;  // multiply-adds worth handing to another thread
  const int64_t size = factored.columns;
  const int64_t panels = (size + kPanel<T> - 1) / kPanel<T>;
  const auto pairs = gram::lower_triangle_pairs(panels);
  AlignedBuffer<T> tile(panels * gram::kTileRows * kPanel<T>);
  AlignedBuffer<T> running(panels * kPanel<T>);

  for (int64_t first = 0; first < factored.total_rows(); first += gram::kTileRows) {
    const int64_t rows = std::min(gram::kTileRows, factored.total_rows() - first);
    parallel_for(0, panels, kWorkPerThread / (rows * kPanel<T>)+1, [&](int64_t begin, int64_t end) {
      for (int64_t panel = begin; panel < end; ++panel) {
        T* target = tile.data() + panel * gram::kTileRows * kPanel<T>;
        sweep_rows<T>(factored, first, first + rows, panel * kPanel<T>,
                      running.data() + panel * kPanel<T>, [&](int64_t, const PanelRow<T>& row) {
                        row.store_to(target);
                        target += kPanel<T>;
                      });
      }
    });
    const int64_t pair_work = rows * kPanel<T> * kPanel<T>;
    parallel_for(0, static_cast<int64_t>(pairs.size()), kWorkPerThread / pair_work + 1,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t pair = begin; pair < end; ++pair) {
                     gram::add_pair(tile.data(), pairs[pair], rows, scale, fisher, size);
                   }
                 });
  }
  gram::mirror_rows(fisher, size, 0, size);
}

}  // namespace vkdnw
