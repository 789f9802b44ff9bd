// BatchNorm with the batch's own statistics, and its data gradient, on NHWC float32.
//
// With mean m, variance v and n numbers in each channel,
//
//   y = s (x - m) + bias                                   s = weight / sqrt(v + eps)
//   gradient of x = s grad + slope (x - m) + offset        offset = -s sum(grad) / n
//                                                          slope = -s sum(grad (x - m)) / (v + eps)
//                                                          / n
//
// Sums are float64, taken sample by sample and then added up in order, so that they depend neither
// on the number of threads nor on how samples are grouped. What is applied to every number is
// float32; the mean is taken off first, so that a large one costs no digits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/lanes.h"
#include "kernels/simd.h"

namespace vkdnw::batch_norm {

// Channel counts are multiples of this.
inline constexpr int64_t kChannelMultiple = 16;

struct Size {
  int64_t samples;
  int64_t pixels;  // of one sample
  int64_t channels;

  int64_t numbers() const { return pixels * channels; }
  double count() const { return static_cast<double>(samples) * static_cast<double>(pixels); }
};

// Of one channel.
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

// sums[0][c] = sum of a, sums[1][c] = sum of a b, over the pixels of one sample.
inline void sum_products(const Size& size, const float* a, const float* b, double* sums) {
  constexpr int64_t kGroup = kLaneCount<double>;
  constexpr int64_t kGroups = kChannelMultiple / kGroup;
  constexpr int64_t kPhases = 2;  // pixels whose sums do not wait for each other
  for (int64_t c = 0; c < size.channels; c += kChannelMultiple) {
    Lanes<double> sum[kPhases][kGroups] = {};
    Lanes<double> product[kPhases][kGroups] = {};
    const auto add = [&](int64_t pixel, int64_t phase) {
#pragma GCC unroll 2
      for (int64_t group = 0; group < kGroups; ++group) {
        const int64_t place = pixel * size.channels + c + group * kGroup;
        const Lanes<double> first = load_converted<double, kLaneBytes>(a + place);
        sum[phase][group] += first;
        product[phase][group] += first * load_converted<double, kLaneBytes>(b + place);
      }
    };
    int64_t pixel = 0;
    for (; pixel + kPhases <= size.pixels; pixel += kPhases) {
#pragma GCC unroll 2
      for (int64_t phase = 0; phase < kPhases; ++phase) {
        add(pixel + phase, phase);
      }
    }
    if (pixel < size.pixels) {
      add(pixel, 0);
    }
    for (int64_t group = 0; group < kGroups; ++group) {
      const int64_t place = c + group * kGroup;
      store_lanes(sums + place, sum[0][group] + sum[1][group]);
      store_lanes(sums + size.channels + place, product[0][group] + product[1][group]);
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

// From the sums of x and x x.
inline Statistics statistics(double sum, double squares, double count, double eps) {
  const double mean = sum / count;
  const double variance = squares / count - mean * mean;
  // Rounding makes it negative; a NaN must stay one.
  return {mean, 1 / std::sqrt((variance < 0 ? 0 : variance) + eps)};
}

// Of one channel: the coefficients of the gradient of x, and the gradient of the weight.
struct Gradients {
  double scale;
  double slope;
  double offset;
  double of_weight;
};

// From the sums of grad and grad x.
inline Gradients gradients(const Statistics& of_x, double weight, double sum, double product,
                           double count) {
  const double scale = weight * of_x.inverse_deviation;
  const double of_weight = (product - of_x.mean * sum) * of_x.inverse_deviation;
  return {scale, -scale * of_x.inverse_deviation * of_weight / count, -scale * sum / count,
          of_weight};
}

// Numbers that are gone through together, channel block by channel block: level 1 keeps them.
inline constexpr int64_t kChunk = 4 * 1024;

// target = scale (x - mean) + shift, for some pixels.
inline void normalise(const Coefficients& by, int64_t pixels, int64_t channels, const float* x,
                      float* target) {
  constexpr int64_t kBlock = kNativeBytes / 4;
  const int64_t chunk = std::max<int64_t>(1, kChunk / channels);
  for (int64_t first = 0; first < pixels; first += chunk) {
    const int64_t last = std::min(pixels, first + chunk);
    for (int64_t c = 0; c < channels; c += kBlock) {
      const auto scale = load_simd<kNativeBytes>(by.scale + c);
      const auto mean = load_simd<kNativeBytes>(by.mean + c);
      const auto shift = load_simd<kNativeBytes>(by.shift + c);
      for (int64_t i = first * channels + c; i < last * channels; i += channels) {
        store_simd<kNativeBytes>(target + i,
                                 scale * (load_simd<kNativeBytes>(x + i) - mean) + shift);
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
