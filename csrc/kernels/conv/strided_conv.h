// Data gradient of a convolution with any kernel size, stride and padding (no dilation, no groups)
// on NHWC float32, with the backward of the ReLU in front of it folded in.
//
// The positions of one phase (kernels/conv/conv_axis.h) along a row of the image are reached by the
// same taps, so that they are rows of one sum of matrix products.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/conv/conv_axis.h"
#include "kernels/conv/row_products.h"
#include "kernels/layers/gradient_target.h"
#include "kernels/simd/aligned_buffer.h"

namespace vkdnw::strided_conv {

using conv_axis::Axis;
using conv_axis::Tap;
using conv_axis::taps_of_phase;

// Both channel counts are multiples of row_products::kChannelBlock, and with a mask, `channels`
// also of 8.
struct InputGradient {
  int64_t samples;
  Axis rows;
  Axis columns;
  int64_t grad_channels;
  int64_t channels;
  const float* grad;     // [samples, rows.grad_size, columns.grad_size, grad_channels]
  const float* weights;  // [rows.kernel, columns.kernel, grad_channels, channels]
  GradientTarget target;
};

class InputGradientWorker {
 public:
  explicit InputGradientWorker(const InputGradient& problem)
      : problem_(problem),
        padded_(problem.rows.padded() * problem.columns.padded() * problem.grad_channels) {
    for (int64_t phase = 0; phase < problem.rows.stride; ++phase) {
      row_taps_.push_back(taps_of_phase(problem.rows, phase));
    }
    for (int64_t phase = 0; phase < problem.columns.stride; ++phase) {
      column_taps_.push_back(taps_of_phase(problem.columns, phase));
    }
  }

  // Computes samples [first, last).
  void run(int64_t first, int64_t last) {
    for (int64_t sample = first; sample < last; ++sample) {
      copy_padded(sample);
      for (int64_t y = 0; y < problem_.rows.size; ++y) {
        for (int64_t phase = 0; phase < problem_.columns.stride; ++phase) {
          multiply_phase(sample, y, phase);
        }
      }
    }
  }

 private:
  // The sample's gradient with zeros around it.
  void copy_padded(int64_t sample) {
    const Axis& rows = problem_.rows;
    const Axis& columns = problem_.columns;
    const int64_t row = columns.grad_size * problem_.grad_channels;
    const int64_t padded_row = columns.padded() * problem_.grad_channels;
    const float* source = problem_.grad + sample * rows.grad_size * row;
    std::fill_n(padded_.data(), rows.padded() * padded_row, 0.0f);
    float* target =
        padded_.data() + rows.before() * padded_row + columns.before() * problem_.grad_channels;
    for (int64_t y = 0; y < rows.grad_size; ++y, source += row, target += padded_row) {
      std::copy_n(source, row, target);
    }
  }

  // The pixels of row y whose columns are of one phase.
  void multiply_phase(int64_t sample, int64_t y, int64_t phase) {
    const Axis& columns = problem_.columns;
    if (phase >= columns.size) {
      return;
    }
    sources_.clear();
    for (const Tap& row_tap : row_taps_[y % problem_.rows.stride]) {
      for (const Tap& column_tap : column_taps_[phase]) {
        sources_.push_back(source(y / problem_.rows.stride, row_tap, column_tap));
      }
    }
    const int64_t numbers = problem_.rows.size * columns.size * problem_.channels;
    const int64_t first = (y * columns.size + phase) * problem_.channels;
    const uint8_t* mask = problem_.target.mask_of(sample, numbers);
    row_products::multiply({.sources = sources_.data(),
                            .source_count = static_cast<int64_t>(sources_.size()),
                            .channels = problem_.channels,
                            .result = problem_.target.data + sample * numbers + first,
                            .row_stride = columns.stride * problem_.channels,
                            .mask = mask == nullptr ? nullptr : mask + first / 8,
                            .add = problem_.target.add},
                           (columns.size - phase + columns.stride - 1) / columns.stride);
  }

  row_products::Source source(int64_t j, const Tap& row_tap, const Tap& column_tap) const {
    const int64_t y = problem_.rows.before() + j + row_tap.distance;
    const int64_t x = problem_.columns.before() + column_tap.distance;
    const int64_t tap = row_tap.k * problem_.columns.kernel + column_tap.k;
    return {.channels = problem_.grad_channels,
            .grad = padded_.data() + (y * problem_.columns.padded() + x) * problem_.grad_channels,
            .weights = problem_.weights + tap * problem_.grad_channels * problem_.channels};
  }

  const InputGradient& problem_;
  AlignedBuffer<float> padded_;
  std::vector<std::vector<Tap>> row_taps_;  // by phase
  std::vector<std::vector<Tap>> column_taps_;
  std::vector<row_products::Source> sources_;
};

}  // namespace vkdnw::strided_conv
