// Data gradient of a depthwise convolution (one filter for each channel) with any kernel size,
// stride and padding on NHWC float32, with the backward of the ReLU in front of it folded in.
//
// One vector of channels is taken through all samples before the next: its filters and a sample's
// gradient, with zeros beside its rows, stay in level 1. Several pixels of one phase
// (kernels/conv/conv_axis.h) along a row are summed up in registers, each number of a filter being
// fetched once for all of them. Taps that reach no pixel of a small map are left out.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/conv/conv_axis.h"
#include "kernels/layers/gradient_target.h"
#include "kernels/simd/aligned_buffer.h"
#include "kernels/simd/simd.h"

namespace vkdnw::depthwise_conv {

using conv_axis::Axis;
using conv_axis::Tap;
using relu::Floats;
using relu::kFloats;

// Pixels that are summed up together: with AVX-512 there are 32 registers, otherwise 16.
inline constexpr int kMostPixels = kNativeBytes == 64 ? 16 : 8;

// The number of channels is a multiple of kFloats, and with a mask also of 8.
struct InputGradient {
  int64_t samples;
  Axis rows;
  Axis columns;
  int64_t channels;
  const float* grad;     // [samples, rows.grad_size, columns.grad_size, channels]
  const float* weights;  // [rows.kernel, columns.kernel, channels]
  GradientTarget target;
};

// Where a tap finds its factors, in numbers from the start of a row of the filter and of a padded
// row of the gradient.
struct Place {
  int64_t weight;
  int64_t grad;
};

// Taps and strides that the pixels of one phase along a row share.
struct Sum {
  const Tap* row_taps;
  int64_t row_tap_count;
  const std::vector<Place>* places;
  const float* weights;  // [rows.kernel, columns.kernel, kFloats]
  int64_t weights_row;
  const float* grad;  // [rows.grad_size, padded width, kFloats], at row j of the phase
  int64_t grad_row;
};

template <int Pixels>
void sum_taps(const Sum& sum, int64_t first, Floats* result) {
  Floats sums[Pixels] = {};
  for (int64_t i = 0; i < sum.row_tap_count; ++i) {
    const float* weights = sum.weights + sum.row_taps[i].k * sum.weights_row;
    const float* grad = sum.grad + sum.row_taps[i].distance * sum.grad_row + first * kFloats;
    for (const Place& place : *sum.places) {
      const Floats weight = load_simd<kNativeBytes>(weights + place.weight);
#pragma GCC unroll 16
      for (int pixel = 0; pixel < Pixels; ++pixel) {
        sums[pixel] += weight * load_simd<kNativeBytes>(grad + place.grad + pixel * kFloats);
      }
    }
  }
#pragma GCC unroll 16
  for (int pixel = 0; pixel < Pixels; ++pixel) {
    result[pixel] = sums[pixel];
  }
}

using SumTaps = void (*)(const Sum&, int64_t, Floats*);

// Entry i sums up i + 1 pixels.
inline constexpr auto kSumTaps = []<int... I>(std::integer_sequence<int, I...>) {
  return std::array<SumTaps, sizeof...(I)>{&sum_taps<I + 1>...};
}(std::make_integer_sequence<int, kMostPixels>());

class InputGradientWorker {
 public:
  explicit InputGradientWorker(const InputGradient& problem)
      : problem_(problem), weights_(problem.rows.kernel * problem.columns.kernel * kFloats) {
    for (int64_t phase = 0; phase < problem.rows.stride; ++phase) {
      row_taps_.push_back(conv_axis::taps_of_phase(problem.rows, phase));
    }
    find_column_taps();
    padded_ = std::make_unique<AlignedBuffer<float>>(problem.rows.grad_size * grad_row());
    std::fill_n(padded_->data(), problem.rows.grad_size * grad_row(), 0.0f);
  }

  // Computes samples [first, last).
  void run(int64_t first, int64_t last) {
    for (int64_t channel = 0; channel < problem_.channels; channel += kFloats) {
      copy_block(problem_.weights + channel, problem_.rows.kernel * problem_.columns.kernel,
                 weights_.data());
      for (int64_t sample = first; sample < last; ++sample) {
        copy_padded(sample, channel);
        for (int64_t y = 0; y < problem_.rows.size; ++y) {
          sum_row(sample, channel, y);
        }
      }
    }
  }

 private:
  // Pixels of a phase along a row of the result.
  int64_t columns_of(int64_t phase) const {
    return (problem_.columns.size - phase + problem_.columns.stride - 1) / problem_.columns.stride;
  }

  // The taps of each phase that reach the gradient from any column, and the zeros they need.
  void find_column_taps() {
    const Axis& axis = problem_.columns;
    std::vector<std::vector<Tap>> taps;
    int64_t end = axis.grad_size;
    for (int64_t phase = 0; phase < axis.stride; ++phase) {
      taps.emplace_back();
      for (const Tap& tap : conv_axis::taps_of_phase(axis, phase)) {
        if (tap.distance > -columns_of(phase) && tap.distance < axis.grad_size) {
          taps.back().push_back(tap);
          before_ = std::max(before_, -tap.distance);
          end = std::max(end, columns_of(phase) + tap.distance);
        }
      }
    }
    width_ = before_ + end;
    for (const std::vector<Tap>& of_phase : taps) {
      places_.emplace_back();
      for (const Tap& tap : of_phase) {
        places_.back().push_back(
            {.weight = tap.k * kFloats, .grad = (before_ + tap.distance) * kFloats});
      }
    }
  }

  int64_t grad_row() const { return width_ * kFloats; }

  // One vector of channels of some neighbouring pixels.
  void copy_block(const float* source, int64_t pixels, float* target) const {
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      store_simd<kNativeBytes>(target + pixel * kFloats,
                               load_simd<kNativeBytes>(source + pixel * problem_.channels));
    }
  }

  // The zeros beside the rows are kept.
  void copy_padded(int64_t sample, int64_t channel) {
    const int64_t rows = problem_.rows.grad_size;
    const int64_t columns = problem_.columns.grad_size;
    const float* source = problem_.grad + sample * rows * columns * problem_.channels + channel;
    float* target = padded_->data() + before_ * kFloats;
    for (int64_t y = 0; y < rows; ++y, target += grad_row()) {
      copy_block(source + y * columns * problem_.channels, columns, target);
    }
  }

  void sum_row(int64_t sample, int64_t channel, int64_t y) {
    const int64_t j = y / problem_.rows.stride;
    const std::vector<Tap>& taps = row_taps_[y % problem_.rows.stride];
    const auto inside = [&](const Tap& tap) {
      return j + tap.distance >= 0 && j + tap.distance < problem_.rows.grad_size;
    };  // neighbouring taps, since their distances descend
    const auto first = std::find_if(taps.begin(), taps.end(), inside);
    const auto last = std::find_if_not(first, taps.end(), inside);
    for (int64_t phase = 0; phase < std::min(problem_.columns.stride, problem_.columns.size);
         ++phase) {
      sum_phase({.row_taps = taps.data() + (first - taps.begin()),
                 .row_tap_count = last - first,
                 .places = &places_[phase],
                 .weights = weights_.data(),
                 .weights_row = problem_.columns.kernel * kFloats,
                 .grad = padded_->data() + j * grad_row(),
                 .grad_row = grad_row()},
                {.sample = sample, .channel = channel, .y = y, .phase = phase});
    }
  }

  // Pixels of the result, from column `phase` on.
  struct Row {
    int64_t sample;
    int64_t channel;
    int64_t y;
    int64_t phase;
  };

  void sum_phase(const Sum& sum, const Row& row) {
    const int64_t numbers = problem_.rows.size * problem_.columns.size * problem_.channels;
    float* result = problem_.target.data + row.sample * numbers;
    const uint8_t* mask = problem_.target.mask_of(row.sample, numbers);
    const int64_t step = problem_.columns.stride * problem_.channels;
    int64_t offset = (row.y * problem_.columns.size + row.phase) * problem_.channels + row.channel;
    Floats sums[kMostPixels];
    for (int64_t done = 0; done < columns_of(row.phase); done += kMostPixels) {
      const int64_t count = std::min<int64_t>(kMostPixels, columns_of(row.phase) - done);
      kSumTaps[count - 1](sum, done, sums);
      for (int64_t pixel = 0; pixel < count; ++pixel, offset += step) {
        store_gradient(result, offset, sums[pixel], mask, problem_.target.add);
      }
    }
  }

  const InputGradient& problem_;
  int64_t before_ = 0;                      // zeros on the left of a row of the gradient
  int64_t width_ = 0;                       // of a row with its zeros
  std::vector<std::vector<Tap>> row_taps_;  // by phase
  std::vector<std::vector<Place>> places_;  // by phase of the columns
  AlignedBuffer<float> weights_;
  std::unique_ptr<AlignedBuffer<float>> padded_;
};

}  // namespace vkdnw::depthwise_conv
