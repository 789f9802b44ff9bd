#include "kernels/conv/strided_conv.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/packed_mask.h"
#include "tests/random_numbers.h"

using vkdnw::row_products::kChannelBlock;
using vkdnw::strided_conv::Axis;
using vkdnw::strided_conv::InputGradient;
using vkdnw::strided_conv::InputGradientWorker;
using vkdnw::tests::packed_mask;
using vkdnw::tests::random_numbers;

namespace {

Axis axis(int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
  const int64_t outputs = (size + 2 * padding - kernel) / stride + 1;
  return {
      .size = size, .grad_size = outputs, .kernel = kernel, .stride = stride, .padding = padding};
}

// One gradient with its memory, for two samples and one mask.
struct Example {
  Axis rows;
  Axis columns;
  int64_t grad_channels;
  int64_t channels;
  std::vector<float> grad;
  std::vector<float> weights;
  std::vector<float> relu;
  std::vector<uint8_t> mask;

  static constexpr int64_t kSamples = 2;

  int64_t outputs() const { return kSamples * rows.size * columns.size * channels; }

  InputGradient problem(std::vector<float>& result, bool masked) const {
    return {.samples = kSamples,
            .rows = rows,
            .columns = columns,
            .grad_channels = grad_channels,
            .channels = channels,
            .grad = grad.data(),
            .weights = weights.data(),
            .target = {.data = result.data(),
                       .add = false,
                       .mask = masked ? mask.data() : nullptr,
                       .mask_samples = 1,
                       .mask_first = 0}};
  }
};

Example random_example(const Axis& rows, const Axis& columns) {
  std::mt19937 rng(7);
  Example example{.rows = rows,
                  .columns = columns,
                  .grad_channels = 2 * kChannelBlock,
                  .channels = kChannelBlock,
                  .grad = {},
                  .weights = {},
                  .relu = {},
                  .mask = {}};
  const int64_t image = rows.grad_size * columns.grad_size * example.grad_channels;
  example.grad = random_numbers(Example::kSamples * image, rng);
  example.weights =
      random_numbers(rows.kernel * columns.kernel * example.grad_channels * example.channels, rng);
  example.relu = random_numbers(rows.size * columns.size * example.channels, rng);
  example.mask = packed_mask(example.relu);
  return example;
}

struct Sums {
  std::vector<double> terms;
  std::vector<double> magnitudes;  // of the terms
};

// By the definition of the forward convolution: each output goes back to the inputs it read.
Sums direct(const Example& e) {
  Sums sums{std::vector<double>(e.outputs()), std::vector<double>(e.outputs())};
  const float* grad = e.grad.data();
  for (int64_t sample = 0; sample < Example::kSamples; ++sample) {
    for (int64_t oy = 0; oy < e.rows.grad_size; ++oy) {
      for (int64_t ox = 0; ox < e.columns.grad_size; ++ox, grad += e.grad_channels) {
        for (int64_t ky = 0; ky < e.rows.kernel; ++ky) {
          for (int64_t kx = 0; kx < e.columns.kernel; ++kx) {
            const int64_t y = oy * e.rows.stride - e.rows.padding + ky;
            const int64_t x = ox * e.columns.stride - e.columns.padding + kx;
            if (y < 0 || y >= e.rows.size || x < 0 || x >= e.columns.size) {
              continue;
            }
            const float* weights =
                e.weights.data() + (ky * e.columns.kernel + kx) * e.grad_channels * e.channels;
            const int64_t pixel = ((sample * e.rows.size + y) * e.columns.size + x) * e.channels;
            for (int64_t out = 0; out < e.grad_channels; ++out) {
              for (int64_t in = 0; in < e.channels; ++in) {
                const double term = double{grad[out]} * weights[out * e.channels + in];
                sums.terms[pixel + in] += term;
                sums.magnitudes[pixel + in] += std::fabs(term);
              }
            }
          }
        }
      }
    }
  }
  return sums;
}

std::vector<float> gradient(const Example& example, bool masked) {
  std::vector<float> result(example.outputs(), std::nanf(""));
  InputGradientWorker(example.problem(result, masked)).run(0, Example::kSamples);
  return result;
}

}  // namespace

TEST_CASE("equals the definition for any kernel, stride and padding") {
  const std::vector<Example> examples = {
      random_example(axis(8, 3, 2, 1), axis(8, 3, 2, 1)),
      random_example(axis(7, 3, 2, 1), axis(10, 3, 2, 1)),
      random_example(axis(9, 1, 2, 0), axis(6, 1, 2, 0)),   // no output reads most inputs
      random_example(axis(9, 5, 3, 0), axis(11, 2, 3, 2)),  // and some behind the last window
      random_example(axis(5, 3, 1, 1), axis(4, 5, 1, 2)),
      random_example(axis(1, 3, 2, 1), axis(1, 4, 4, 2)),
      random_example(axis(6, 2, 2, 3), axis(5, 1, 1, 2))};
  for (const Example& example : examples) {
    CAPTURE(example.rows.size);
    CAPTURE(example.rows.kernel);
    REQUIRE(example.rows.is_consistent());
    REQUIRE(example.columns.is_consistent());
    const Sums expected = direct(example);
    const std::vector<float> result = gradient(example, false);
    const double roundings =
        static_cast<double>(example.rows.kernel * example.columns.kernel * example.grad_channels) *
        0x1p-24;
    for (int64_t i = 0; i < example.outputs(); ++i) {
      CHECK(std::fabs(result[i] - expected.terms[i]) <= 2 * roundings * expected.magnitudes[i]);
    }
  }
}

TEST_CASE("is zero where the mask is clear, and has the same bits elsewhere") {
  const Example example = random_example(axis(8, 3, 2, 1), axis(6, 3, 2, 1));
  const std::vector<float> plain = gradient(example, false);
  const std::vector<float> masked = gradient(example, true);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    CHECK(masked[i] == (example.relu[i % example.relu.size()] <= 0 ? 0 : plain[i]));
  }
}

TEST_CASE("adds to what is there, sample by sample with the same bits") {
  const Example example = random_example(axis(8, 3, 2, 1), axis(8, 3, 2, 1));
  const std::vector<float> plain = gradient(example, true);
  std::vector<float> result(example.outputs(), 2);
  InputGradient problem = example.problem(result, true);
  problem.target.add = true;
  InputGradientWorker(problem).run(1, 2);
  InputGradientWorker(problem).run(0, 1);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    CHECK(result[i] == plain[i] + 2);
  }
}
