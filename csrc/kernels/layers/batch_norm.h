// BatchNorm with the batch's own statistics, and its data gradient, on NHWC float32.
//
// With mean m, variance v and n numbers in each channel,
//
//   y = s (x - m) + bias                                   s = weight / sqrt(v + eps)
//   gradient of x = s grad + slope (x - m) + offset        offset = -s sum(grad) / n
//                                                          slope = -s sum(grad (x - m)) / (v + eps)
//                                                          / n
//
// Sums are taken in float32 over a few pixels and in float64 from there on, sample by sample, and
// then added up in order, so that they depend neither on the number of threads nor on how samples
// are grouped. Operations on every number are float32. An origin near the mean is taken off
// first wherever numbers are multiplied, so that a large mean costs no digits.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/simd/lanes.h"
#include "kernels/simd/simd.h"

namespace vkdnw::batch_norm {

// Channel counts are multiples of this.
inline constexpr int64_t kChannelMultiple = 16;

struct Size {
  int64_t samples;
  int64_t pixels;  // of one sample
  int64_t channels;

  int64_t floats_per_sample() const { return pixels * channels; }
  double count() const { return static_cast<double>(samples) * static_cast<double>(pixels); }
};

// Of one channel.
struct Moments {
  double mean;
  double variance;  // of the numbers themselves: over n
};

struct Statistics {
  double mean;
  double inverse_deviation;  // 1 / sqrt(variance + eps)
};

// By channel: target = s (x - mean) + shift, and for a gradient s grad + slope (x - mean) + shift.
struct Coefficients {
  const float* scale;
  const float* slope;
  const float* mean;
  const float* shift;
};

// Pixels whose sums are taken in float32, and converted once: conversions cost more than sums.
inline constexpr int64_t kRun = 16;

// sums[k][0][c] = sum of a[k], sums[k][1][c] = sum of a[k] (x - origin), over the pixels of one
// sample. With `squares`, a is x - origin itself. The bits for one a do not depend on others.
template <bool kSquares, std::size_t kCount>
void sum_products(const Size& size, const std::array<const float*, kCount>& a, const float* x,
                  const float* origin, const std::array<double*, kCount>& sums) {
  constexpr int64_t kHalf = kLaneCount<double>;
  const int64_t step = size.channels;
  for (int64_t c = 0; c < size.channels; c += kChannelMultiple) {
    const Lanes<float> from = load_lanes(origin + c);
    Lanes<double> sum[kCount][2] = {};
    Lanes<double> product[kCount][2] = {};
    for (int64_t first = 0; first < size.pixels; first += kRun) {
      Lanes<float> run_sum[kCount] = {};
      Lanes<float> run_product[kCount] = {};
      const int64_t last = std::min(first + kRun, size.pixels) * step + c;
      for (int64_t i = first * step + c; i < last; i += step) {
        const Lanes<float> centred = load_lanes(x + i) - from;
        for (std::size_t k = 0; k < kCount; ++k) {
          const Lanes<float> factor = kSquares ? centred : load_lanes(a[k] + i);
          run_sum[k] += factor;
          run_product[k] += factor * centred;
        }
      }
      for (std::size_t k = 0; k < kCount; ++k) {
        float run[2 * kChannelMultiple];
        store_lanes(run, run_sum[k]);
        store_lanes(run + kChannelMultiple, run_product[k]);
        for (int64_t half = 0; half < 2; ++half) {
          sum[k][half] += load_converted<double, kLaneBytes>(run + half * kHalf);
          product[k][half] +=
              load_converted<double, kLaneBytes>(run + kChannelMultiple + half * kHalf);
        }
      }
    }
    for (std::size_t k = 0; k < kCount; ++k) {
      for (int64_t half = 0; half < 2; ++half) {
        store_lanes(sums[k] + c + half * kHalf, sum[k][half]);
        store_lanes(sums[k] + size.channels + c + half * kHalf, product[k][half]);
      }
    }
  }
}

// The sums of all samples, [samples][2][channels], into those of the first.
inline void add_samples(const Size& size, double* sums) {
  const int64_t row = 2 * size.channels;
  for (int64_t sample = 1; sample < size.samples; ++sample) {
    for (int64_t i = 0; i < row; ++i) {
      sums[i] += sums[sample * row + i];
    }
  }
}

// From the sums of x - origin and its square.
inline Moments moments(double origin, double sum, double squares, double count) {
  const double centred = sum / count;
  const double variance = squares / count - centred * centred;
  // Rounding makes it negative; a NaN must stay one.
  return {origin + centred, variance < 0 ? 0 : variance};
}

inline Statistics statistics(const Moments& of_x, double eps) {
  return {of_x.mean, 1 / std::sqrt(of_x.variance + eps)};
}

// Of one channel: the coefficients of the gradient of x, and the gradient of the weight.
struct Gradients {
  double scale;
  double slope;
  double offset;
  double of_weight;
};

// From the sums of grad and grad (x - mean).
inline Gradients gradients(const Statistics& of_x, double weight, double sum, double product,
                           double count) {
  const double scale = weight * of_x.inverse_deviation;
  const double of_weight = product * of_x.inverse_deviation;
  return {scale, -scale * of_x.inverse_deviation * of_weight / count, -scale * sum / count,
          of_weight};
}

// Numbers that are gone through together, channel block by channel block: level 1 keeps them.
inline constexpr int64_t kChunk = 4 * 1024;

// target = scale (x - mean) + shift, for some pixels; with kAdd, base + that.
template <bool kAdd>
void normalise(const Coefficients& by, int64_t pixels, int64_t channels, const float* x,
               const float* base, float* target) {
  constexpr int64_t kBlock = kNativeBytes / 4;
  const int64_t chunk = std::max<int64_t>(1, kChunk / channels);
  for (int64_t first = 0; first < pixels; first += chunk) {
    const int64_t last = std::min(pixels, first + chunk);
    for (int64_t c = 0; c < channels; c += kBlock) {
      const auto scale = load_simd<kNativeBytes>(by.scale + c);
      const auto mean = load_simd<kNativeBytes>(by.mean + c);
      const auto shift = load_simd<kNativeBytes>(by.shift + c);
      for (int64_t i = first * channels + c; i < last * channels; i += channels) {
        const auto value = scale * (load_simd<kNativeBytes>(x + i) - mean) + shift;
        store_simd<kNativeBytes>(target + i,
                                 kAdd ? load_simd<kNativeBytes>(base + i) + value : value);
      }
    }
  }
}

// target = scale grad + (slope (x - mean) + shift), for some pixels.
inline void input_gradient(const Coefficients& by, int64_t pixels, int64_t channels,
                           const float* grad, const float* x, float* target) {
  constexpr int64_t kBlock = kNativeBytes / 4;
  const int64_t chunk = std::max<int64_t>(1, kChunk / channels);
  for (int64_t first = 0; first < pixels; first += chunk) {
    const int64_t last = std::min(pixels, first + chunk);
    for (int64_t c = 0; c < channels; c += kBlock) {
      const auto scale = load_simd<kNativeBytes>(by.scale + c);
      const auto slope = load_simd<kNativeBytes>(by.slope + c);
      const auto mean = load_simd<kNativeBytes>(by.mean + c);
      const auto shift = load_simd<kNativeBytes>(by.shift + c);
      for (int64_t i = first * channels + c; i < last * channels; i += channels) {
        const auto centred = load_simd<kNativeBytes>(x + i) - mean;
        const auto rest = slope * centred + shift;
        store_simd<kNativeBytes>(target + i, scale * load_simd<kNativeBytes>(grad + i) + rest);
      }
    }
  }
}

}  // namespace vkdnw::batch_norm
