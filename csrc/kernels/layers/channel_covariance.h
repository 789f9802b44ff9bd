// Covariance of the columns of a tall float32 matrix, [rows, channels], in float64.
//
// Columns are taken relative to the matrix's first row, exactly: a constant column has a covariance
// of zero, and a large mean costs no digits. With d = row - first row,
//
//   covariance = sum(d d^T) / n - (sum(d) / n) (sum(d) / n)^T
//
// Rows are gone through in parts of a fixed size, whose sums are added up in order, so that the
// number of threads does not show in the result.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/fisher/factor_sweep.h"
#include "kernels/fisher/gram_update.h"
#include "kernels/simd/aligned_buffer.h"
#include "kernels/simd/prefetch.h"
#include "kernels/simd/simd.h"

namespace vkdnw::channel_covariance {

inline constexpr int64_t kPartRows = 8 * 1024;

struct Rows {
  int64_t count;
  int64_t channels;
  const float* data;  // [count, channels]

  int64_t parts() const { return (count + kPartRows - 1) / kPartRows; }
  int64_t panels() const { return (channels + kPanel<double> - 1) / kPanel<double>; }
};

// Sums over some rows: of d, and of d d^T, of which the lower triangle is there.
struct Sums {
  explicit Sums(int64_t channels) : of_rows(channels), of_products(channels * channels) {}

  void add(const Sums& other) {
    for (std::size_t i = 0; i < of_rows.size(); ++i) {
      of_rows[i] += other.of_rows[i];
    }
    for (std::size_t i = 0; i < of_products.size(); ++i) {
      of_products[i] += other.of_products[i];
    }
  }

  std::vector<double> of_rows;
  std::vector<double> of_products;
};

// One panel of rows [first, first + count), behind the last channel zeros.
inline void pack_panel(const Rows& rows, int64_t first, int64_t count, int64_t channel,
                       double* panel, double* sums) {
  constexpr int64_t kLanes = kVectorSize<double>;
  const int64_t width = std::min(kPanel<double>, rows.channels - channel);
  float padded[kPanel<double>] = {};
  std::copy_n(rows.data + channel, width, padded);
  Simd<double, kNativeBytes> origin[kVectorsPerPanel];
  Simd<double, kNativeBytes> sum[kVectorsPerPanel] = {};
  for (int64_t v = 0; v < kVectorsPerPanel; ++v) {
    origin[v] = load_converted<double, kNativeBytes>(padded + v * kLanes);
  }
  const float* row = rows.data + first * rows.channels + channel;
  for (int64_t r = 0; r < count; ++r, row += rows.channels, panel += kPanel<double>) {
    const float* numbers = row;
    prefetch(row + gram::kTileRows * rows.channels, width);  // while this tile is multiplied
    if (width < kPanel<double>) {
      std::copy_n(row, width, padded);
      numbers = padded;
    }
    for (int64_t v = 0; v < kVectorsPerPanel; ++v) {
      const auto centred = load_converted<double, kNativeBytes>(numbers + v * kLanes) - origin[v];
      sum[v] += centred;
      store_simd<kNativeBytes>(panel + v * kLanes, centred);
    }
  }
  for (int64_t c = 0; c < width; ++c) {
    sums[channel + c] += sum[c / kLanes][c % kLanes];
  }
}

// Sums over one part of the rows.
inline Sums sum_part(const Rows& rows, int64_t part) {
  Sums sums(rows.channels);
  const int64_t panels = rows.panels();
  AlignedBuffer<double> tile(panels * gram::kTileRows * kPanel<double>);
  const std::vector<gram::PanelPair> pairs = gram::lower_triangle_pairs(panels);
  const int64_t last = std::min(rows.count, (part + 1) * kPartRows);
  for (int64_t first = part * kPartRows; first < last; first += gram::kTileRows) {
    const int64_t count = std::min(gram::kTileRows, last - first);
    for (int64_t panel = 0; panel < panels; ++panel) {
      pack_panel(rows, first, count, panel * kPanel<double>,
                 tile.data() + panel * gram::kTileRows * kPanel<double>, sums.of_rows.data());
    }
    for (const gram::PanelPair& pair : pairs) {
      gram::add_pair(tile.data(), pair, count, 1.0, sums.of_products.data(), rows.channels);
    }
  }
  return sums;
}

// The covariance, [channels, channels], from the sums over all rows.
inline void covariance(const Sums& sums, int64_t count, double* result) {
  const int64_t channels = static_cast<int64_t>(sums.of_rows.size());
  const double share = 1 / static_cast<double>(count);
  for (int64_t i = 0; i < channels; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      result[i * channels + j] =
          share * (sums.of_products[i * channels + j] - share * sums.of_rows[i] * sums.of_rows[j]);
    }
  }
  gram::mirror_rows(result, channels, 0, channels);
}

}  // namespace vkdnw::channel_covariance
