// Data gradient of the mean over squares that do not overlap (average pooling whose stride is its
// size, without padding), on NHWC float32. Inputs behind the last whole square get nothing.
#pragma once

#include <cstdint>

namespace vkdnw::mean_pool {

struct InputGradient {
  int64_t samples;
  int64_t height;
  int64_t width;
  int64_t channels;
  int64_t grad_height;  // height / size
  int64_t grad_width;   // width / size
  int64_t size;
  const float* grad;  // [samples, grad_height, grad_width, channels]
  float* result;      // [samples, height, width, channels]
  bool add;           // to the memory instead of writing it
};

// One row of the result, from the row of the gradient that it is part of, times `share`.
inline void row_gradient(const InputGradient& problem, const float* grad, float share,
                         float* result) {
  for (int64_t x = 0; x < problem.width; ++x, result += problem.channels) {
    const int64_t square = x / problem.size;
    const float factor = square < problem.grad_width ? share : 0;
    const float* source = grad + (factor == 0 ? 0 : square) * problem.channels;
    for (int64_t channel = 0; channel < problem.channels; ++channel) {
      const float before = problem.add ? result[channel] : 0;
      result[channel] = factor == 0 ? before : before + factor * source[channel];
    }
  }
}

inline void input_gradient(const InputGradient& problem) {
  const int64_t grad_row = problem.grad_width * problem.channels;
  const float share = 1 / static_cast<float>(problem.size * problem.size);
  float* result = problem.result;
  for (int64_t sample = 0; sample < problem.samples; ++sample) {
    const float* grad = problem.grad + sample * problem.grad_height * grad_row;
    for (int64_t y = 0; y < problem.height; ++y, result += problem.width * problem.channels) {
      const int64_t square = y / problem.size;
      const bool inside = square < problem.grad_height;
      row_gradient(problem, grad + (inside ? square : 0) * grad_row, inside ? share : 0, result);
    }
  }
}

}  // namespace vkdnw::mean_pool
