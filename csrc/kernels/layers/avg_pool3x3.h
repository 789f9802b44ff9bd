// The 3x3 mean with stride 1 and padding 1 that leaves the padding out of the count, and its data
// gradient, on NHWC float32.
//
// An output at (y, x) is the mean over count(y) * count(x) inputs, so the gradient is
//
//   result[y, x] = sum over the 3x3 neighbours (i, j) in the image of grad[i, j] / count(i) /
//   count(j)
//
// taken along columns first, once for each column, and then along the row. In the mean itself the
// counts are those of the output instead of the neighbours'.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/simd/simd.h"

namespace vkdnw::avg_pool {

struct InputGradient {
  int64_t samples;
  int64_t height;
  int64_t width;
  int64_t channels;
  const float* grad;  // [samples, height, width, channels]
  float* result;      // the same
  bool add;           // to the memory instead of writing it
  bool mean = false;  // of `grad` itself, instead of the gradient

  int64_t rows() const { return samples * height; }
};

// 1 / the number of inputs along one axis of the window around `position`.
inline float inverse_count(int64_t position, int64_t size) {
  constexpr float kInverse[] = {1.0f, 1.0f / 2, 1.0f / 3};
  return kInverse[(position > 0) + (position + 1 < size)];
}

// The rows of the image that one row of the result depends on.
struct Window {
  const float* grad;  // the first of them
  int64_t row_stride;
  float factors[3];  // 1 / count of each
};

// One row of the result, for the channels in one vector of kBytes. Rows is the number of rows in
// the window: at the border of the image, rows that are not there must not turn an infinity to NaN.
template <int Rows, bool kMean, int64_t kBytes>
void sum_window(const Window& window, int64_t width, int64_t channels, float* result, bool add) {
  using Vector = Simd<float, kBytes>;
  const auto column = [&](int64_t x) {
    const float* pixel = window.grad + x * channels;
    Vector sum = window.factors[0] * load_simd<kBytes>(pixel);
    for (int row = 1; row < Rows; ++row) {
      sum += window.factors[row] * load_simd<kBytes>(pixel + row * window.row_stride);
    }
    return kMean ? sum : sum * inverse_count(x, width);
  };
  Vector left = {};
  Vector here = column(0);
  for (int64_t x = 0; x < width; ++x) {
    const Vector right = x + 1 < width ? column(x + 1) : Vector{};
    const Vector before = add ? load_simd<kBytes>(result + x * channels) : Vector{};
    const Vector sum = left + here + right;
    store_simd<kBytes>(result + x * channels,
                       before + (kMean ? sum * inverse_count(x, width) : sum));
    left = here;
    here = right;
  }
}

// One row of the result, all channels.
template <int Rows, bool kMean>
void row_gradient(Window window, int64_t width, int64_t channels, float* result, bool add) {
  constexpr int64_t kLanes = kNativeBytes / 4;
  int64_t channel = 0;
  for (; channel + kLanes <= channels; channel += kLanes, window.grad += kLanes) {
    sum_window<Rows, kMean, kNativeBytes>(window, width, channels, result + channel, add);
  }
  for (; channel < channels; ++channel, ++window.grad) {
    sum_window<Rows, kMean, 4>(window, width, channels, result + channel, add);
  }
}

// Computes rows [first, last) of problem.rows().
template <bool kMean>
void compute_rows(const InputGradient& problem, int64_t first, int64_t last) {
  static constexpr decltype(&row_gradient<1, kMean>) kByRows[] = {
      &row_gradient<1, kMean>, &row_gradient<2, kMean>, &row_gradient<3, kMean>};
  const int64_t row_stride = problem.width * problem.channels;
  for (int64_t row = first; row < last; ++row) {
    const int64_t y = row % problem.height;
    const int64_t top = std::max<int64_t>(y - 1, 0);
    const int64_t bottom = std::min(y + 1, problem.height - 1);
    Window window{.grad = problem.grad + (row - y + top) * row_stride,
                  .row_stride = row_stride,
                  .factors = {}};
    for (int64_t i = top; i <= bottom; ++i) {
      window.factors[i - top] = inverse_count(kMean ? y : i, problem.height);
    }
    kByRows[bottom - top](window, problem.width, problem.channels,
                          problem.result + row * row_stride, problem.add);
  }
}

inline void input_gradient(const InputGradient& problem, int64_t first, int64_t last) {
  problem.mean ? compute_rows<true>(problem, first, last)
               : compute_rows<false>(problem, first, last);
}

}  // namespace vkdnw::avg_pool
