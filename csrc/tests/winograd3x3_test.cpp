#include "kernels/conv/winograd3x3.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/packed_mask.h"
#include "tests/random_numbers.h"

using vkdnw::tests::packed_mask;
using vkdnw::tests::random_numbers;
using vkdnw::winograd::InputGradient;
using vkdnw::winograd::InputGradientWorker;
using vkdnw::winograd::kChannelBlock;
using vkdnw::winograd::kPositions;
using vkdnw::winograd::patches_size;
using vkdnw::winograd::Source;

namespace {

// One gradient with its memory.
struct Example {
  int64_t samples;
  int64_t height;
  int64_t width;
  int64_t grad_channels;
  int64_t channels;
  std::vector<float> weight;       // [grad_channels, channels, 3, 3]
  std::vector<float> grad;         // [samples, height, width, grad_channels]
  std::vector<float> relu;         // [samples / 2, height, width, channels]
  std::vector<uint8_t> mask;       // [samples / 2, height, width, channels / 8]
  std::vector<float> transformed;  // as InputGradient::weights

  InputGradient problem(std::vector<float>& result, bool masked) const {
    return {.samples = samples,
            .height = height,
            .width = width,
            .channels = channels,
            .sources = {source()},
            .target = {.data = result.data(),
                       .add = false,
                       .mask = masked ? mask.data() : nullptr,
                       .mask_samples = samples / 2,
                       .mask_first = 0}};
  }

  Source source() const {
    return {.channels = grad_channels,
            .grad = grad.data(),
            .weights = transformed.data(),
            .patches = nullptr,
            .transformed = false};
  }

  int64_t outputs() const { return samples * height * width * channels; }
};

Example random_example(int64_t samples, int64_t height, int64_t width, int64_t grad_blocks,
                       int64_t blocks) {
  std::mt19937 rng(7);
  const int64_t grad_channels = grad_blocks * kChannelBlock;
  const int64_t channels = blocks * kChannelBlock;
  const int64_t pixels = samples * height * width;
  Example example{.samples = samples,
                  .height = height,
                  .width = width,
                  .grad_channels = grad_channels,
                  .channels = channels,
                  .weight = random_numbers(grad_channels * channels * 9, rng),
                  .grad = random_numbers(pixels * grad_channels, rng),
                  .relu = random_numbers(pixels / 2 * channels, rng),
                  .mask = {},
                  .transformed = std::vector<float>(kPositions * grad_channels * channels)};
  example.mask = packed_mask(example.relu);
  vkdnw::winograd::transform_gradient_weights(example.weight.data(), grad_channels, channels,
                                              example.transformed.data());
  return example;
}

double direct(const Example& e, int64_t sample, int64_t y, int64_t x, int64_t channel) {
  double sum = 0;
  for (int64_t out = 0; out < e.grad_channels; ++out) {
    for (int64_t ky = 0; ky < 3; ++ky) {
      for (int64_t kx = 0; kx < 3; ++kx) {
        const int64_t gy = y + 1 - ky;
        const int64_t gx = x + 1 - kx;
        if (gy >= 0 && gy < e.height && gx >= 0 && gx < e.width) {
          sum += double{e.grad[((sample * e.height + gy) * e.width + gx) * e.grad_channels + out]} *
                 e.weight[((out * e.channels + channel) * 3 + ky) * 3 + kx];
        }
      }
    }
  }
  return sum;
}

std::vector<double> direct(const Example& e) {
  std::vector<double> result;
  for (int64_t sample = 0; sample < e.samples; ++sample) {
    for (int64_t y = 0; y < e.height; ++y) {
      for (int64_t x = 0; x < e.width; ++x) {
        for (int64_t channel = 0; channel < e.channels; ++channel) {
          result.push_back(direct(e, sample, y, x, channel));
        }
      }
    }
  }
  return result;
}

std::vector<float> winograd(const Example& example, bool masked, int64_t block_tiles) {
  std::vector<float> result(example.outputs(), std::nanf(""));
  const InputGradient problem = example.problem(result, masked);
  InputGradientWorker(problem, block_tiles).run(0, problem.tiles());
  return result;
}

double largest(const std::vector<double>& numbers) {
  double result = 0;
  for (const double number : numbers) {
    result = std::max(result, std::fabs(number));
  }
  return result;
}

}  // namespace

TEST_CASE("equals the direct sum for any image size and number of channels") {
  const std::vector<Example> examples = {
      random_example(2, 8, 8, 1, 1),  random_example(2, 1, 1, 1, 1), random_example(2, 5, 7, 2, 1),
      random_example(2, 1, 9, 1, 3),  random_example(2, 6, 2, 3, 2), random_example(2, 4, 4, 2, 5),
      random_example(2, 10, 13, 1, 2)};
  for (const Example& example : examples) {
    CAPTURE(example.height);
    CAPTURE(example.width);
    const std::vector<double> expected = direct(example);
    const std::vector<float> result = winograd(example, false, 3);
    double error = 0;
    for (int64_t i = 0; i < example.outputs(); ++i) {
      const double difference = std::fabs(result[i] - expected[i]);
      error = std::isnan(difference) ? difference : std::max(error, difference);
    }
    CHECK(error <= 5e-6 * largest(expected));
  }
}

TEST_CASE("is zero where the mask is clear, and the same elsewhere") {
  const Example example = random_example(4, 6, 5, 1, 2);
  const std::vector<float> plain = winograd(example, false, 4);
  const std::vector<float> masked = winograd(example, true, 4);
  const int64_t mask_size = static_cast<int64_t>(example.relu.size());
  for (int64_t i = 0; i < example.outputs(); ++i) {
    CHECK(masked[i] == (example.relu[i % mask_size] <= 0 ? 0 : plain[i]));
  }
}

TEST_CASE("has the same bits for any size of the blocks and any split of the tiles") {
  const Example example = random_example(4, 9, 11, 2, 2);
  const std::vector<float> expected = winograd(example, false, 1);
  for (const int64_t block_tiles : {2, 5, 12, 13, 24, 64}) {
    CAPTURE(block_tiles);
    CHECK(winograd(example, false, block_tiles) == expected);
  }
  std::vector<float> result(example.outputs());
  const InputGradient problem = example.problem(result, false);
  InputGradientWorker(problem).run(0, 17);
  InputGradientWorker(problem).run(17, problem.tiles());
  CHECK(result == expected);
}

TEST_CASE("a NaN reaches every pixel that depends on it") {
  Example example = random_example(2, 8, 8, 1, 1);
  example.grad[(3 * 8 + 4) * example.grad_channels] = std::nanf("");
  const std::vector<float> result = winograd(example, false, 8);
  for (int64_t y = 2; y <= 4; ++y) {
    for (int64_t x = 3; x <= 5; ++x) {
      for (int64_t channel = 0; channel < example.channels; ++channel) {
        CHECK(std::isnan(result[(y * 8 + x) * example.channels + channel]));
      }
    }
  }
}

TEST_CASE("sums the gradients of several convolutions") {
  const Example narrow = random_example(4, 7, 6, 1, 2);
  const Example wide = random_example(4, 7, 6, 3, 2);
  std::vector<float> result(narrow.outputs(), std::nanf(""));
  InputGradient problem = narrow.problem(result, true);
  problem.sources.push_back(wide.source());
  InputGradientWorker(problem).run(0, problem.tiles());
  const std::vector<double> first = direct(narrow);
  const std::vector<double> second = direct(wide);
  const int64_t mask_size = static_cast<int64_t>(narrow.relu.size());
  for (int64_t i = 0; i < narrow.outputs(); ++i) {
    const double sum = narrow.relu[i % mask_size] <= 0 ? 0 : first[i] + second[i];
    CHECK(std::fabs(result[i] - sum) <= 5e-6 * (largest(first) + largest(second)));
  }
}

TEST_CASE("adds to what is there, with the masks from a given one on") {
  const Example example = random_example(4, 6, 5, 1, 1);
  const std::vector<float> plain = winograd(example, false, 4);
  std::vector<float> result(example.outputs(), 2);
  InputGradient problem = example.problem(result, true);
  problem.target.add = true;
  problem.target.mask_first = 1;
  InputGradientWorker(problem).run(0, problem.tiles());
  const int64_t mask_size = static_cast<int64_t>(example.relu.size());
  const int64_t sample = mask_size / 2;
  for (int64_t i = 0; i < example.outputs(); ++i) {
    const bool passes = !(example.relu[(i + sample) % mask_size] <= 0);
    CHECK(result[i] == (passes ? plain[i] + 2 : 2));
  }
}

TEST_CASE("has the same bits with patches that another convolution left") {
  const Example example = random_example(2, 9, 7, 2, 1);
  const std::vector<float> expected = winograd(example, false, 4);
  std::vector<float> result(example.outputs());
  InputGradient problem = example.problem(result, false);
  const int64_t blocks = (problem.tiles() + 3) / 4;
  std::vector<float> patches(blocks * patches_size(4, example.grad_channels));
  problem.sources[0].patches = patches.data();
  for (const bool transformed : {false, true}) {
    CAPTURE(transformed);
    problem.sources[0].transformed = transformed;
    problem.sources[0].grad = transformed ? nullptr : example.grad.data();
    InputGradientWorker(problem, 4).run(0, problem.tiles());
    CHECK(result == expected);
  }
}
