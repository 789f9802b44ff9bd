// Data gradients of 1x1 convolutions (stride 1, no padding, no groups) of one input on NHWC
// float32, with the backward of the ReLU in front of them folded in: sums of row products.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/gradient_target.h"
#include "kernels/row_products.h"

namespace vkdnw::conv1x1 {

// The sum of the data gradients of one convolution or several: each source is the gradient of an
// output and the weights as the forward convolution has them, [grad channels, channels]. All
// channel counts are multiples of row_products::kChannelBlock, and with a mask, `channels` also
// of 8.
struct InputGradient {
  int64_t samples;
  int64_t pixels;  // of one sample
  int64_t channels;
  std::vector<row_products::Source> sources;
  GradientTarget target;
};

// Computes pixels [first, last) of samples * pixels. The masks of neighbouring samples lie one
// behind the other, until they start again.
inline void input_gradient(const InputGradient& problem, int64_t first, int64_t last) {
  const int64_t numbers = problem.pixels * problem.channels;
  std::vector<row_products::Source> sources = problem.sources;
  while (first < last) {
    const int64_t sample = first / problem.pixels;
    const int64_t pixel = first % problem.pixels;
    const uint8_t* mask = problem.target.mask_of(sample, numbers);
    const int64_t masked =
        problem.target.samples_to_wrap(sample, problem.samples) * problem.pixels - pixel;
    const int64_t count = std::min(masked, last - first);
    for (std::size_t i = 0; i < sources.size(); ++i) {
      sources[i].grad = problem.sources[i].grad + first * sources[i].channels;
    }
    row_products::multiply({.sources = sources.data(),
                            .source_count = static_cast<int64_t>(sources.size()),
                            .channels = problem.channels,
                            .result = problem.target.data + first * problem.channels,
                            .row_stride = problem.channels,
                            .mask = mask == nullptr ? nullptr : mask + pixel * problem.channels / 8,
                            .add = problem.target.add},
                           count);
    first += count;
  }
}

}  // namespace vkdnw::conv1x1
