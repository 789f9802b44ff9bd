// 1x1 convolutions (stride 1, no padding, no groups) on NHWC float32, with the ReLU in front of
// them folded in, and the data gradients of those of one input: sums of row products.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/conv/row_products.h"
#include "kernels/layers/gradient_target.h"
#include "kernels/simd/aligned_buffer.h"
#include "kernels/simd/simd.h"

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

// The convolution of some images, or of their ReLU. Channel counts are multiples of
// row_products::kChannelBlock.
struct Convolution {
  int64_t samples;
  int64_t pixels;  // of one sample
  int64_t input_channels;
  int64_t channels;
  const float* x;        // [samples, pixels, input channels]
  const float* weights;  // [input channels, channels]
  bool rectify;
  float* result;  // [samples, pixels, channels]
};

// The count is a multiple of the vector's.
inline void rectify(const float* x, int64_t count, float* target) {
  for (int64_t i = 0; i < count; i += row_products::kChannelBlock) {
    store_simd<kNativeBytes>(target + i, relu::rectified(load_simd<kNativeBytes>(x + i)));
  }
}

class ConvolutionWorker {
 public:
  explicit ConvolutionWorker(const Convolution& problem)
      : problem_(problem),
        rectified_(problem.rectify ? row_products::kTileRows * problem.input_channels : 0) {}

  // Computes samples [first, last), as many pixels at a time as stay in level 1 with their ReLU.
  void run(int64_t first, int64_t last) {
    const int64_t end = last * problem_.pixels;
    for (int64_t row = first * problem_.pixels; row < end; row += row_products::kTileRows) {
      multiply(row, std::min(row_products::kTileRows, end - row));
    }
  }

 private:
  void multiply(int64_t first, int64_t count) {
    const float* x = problem_.x + first * problem_.input_channels;
    if (problem_.rectify) {
      rectify(x, count * problem_.input_channels, rectified_.data());
      x = rectified_.data();
    }
    const row_products::Source source{
        .channels = problem_.input_channels, .grad = x, .weights = problem_.weights};
    row_products::multiply({.sources = &source,
                            .source_count = 1,
                            .channels = problem_.channels,
                            .result = problem_.result + first * problem_.channels,
                            .row_stride = problem_.channels,
                            .mask = nullptr,
                            .add = false},
                           count);
  }

  const Convolution& problem_;
  AlignedBuffer<float> rectified_;
};

}  // namespace vkdnw::conv1x1
