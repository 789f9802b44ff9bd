#include "kernels/conv/conv1x1.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/packed_mask.h"
#include "tests/random_numbers.h"

using vkdnw::conv1x1::Convolution;
using vkdnw::conv1x1::ConvolutionWorker;
using vkdnw::conv1x1::input_gradient;
using vkdnw::conv1x1::InputGradient;
using vkdnw::row_products::kChannelBlock;
using vkdnw::row_products::kMaxBlocks;
using vkdnw::row_products::kMaxSums;
using vkdnw::row_products::kTileRows;
using vkdnw::tests::packed_mask;
using vkdnw::tests::random_numbers;

namespace {

// One gradient with its memory.
struct Example {
  int64_t pixels;
  int64_t grad_channels;
  int64_t channels;
  int64_t mask_pixels;
  std::vector<float> grad;    // [pixels, grad_channels]
  std::vector<float> weight;  // [grad_channels, channels]
  std::vector<float> relu;    // [mask_pixels, channels]
  std::vector<uint8_t> mask;  // [mask_pixels, channels / 8]

  InputGradient problem(std::vector<float>& result, bool masked) const {
    return {.samples = pixels / mask_pixels,
            .pixels = mask_pixels,
            .channels = channels,
            .sources = {{.channels = grad_channels, .grad = grad.data(), .weights = weight.data()}},
            .target = {.data = result.data(),
                       .add = false,
                       .mask = masked ? mask.data() : nullptr,
                       .mask_samples = 1,
                       .mask_first = 0}};
  }
};

Example random_example(int64_t pixels, int64_t grad_blocks, int64_t blocks, int64_t mask_pixels) {
  std::mt19937 rng(7);
  const int64_t grad_channels = grad_blocks * kChannelBlock;
  const int64_t channels = blocks * kChannelBlock;
  const std::vector<float> relu = random_numbers(mask_pixels * channels, rng);
  return {.pixels = pixels,
          .grad_channels = grad_channels,
          .channels = channels,
          .mask_pixels = mask_pixels,
          .grad = random_numbers(pixels * grad_channels, rng),
          .weight = random_numbers(grad_channels * channels, rng),
          .relu = relu,
          .mask = packed_mask(relu)};
}

// Starts as NaN, so that no number that is left out goes unnoticed.
std::vector<float> gradient(const Example& example, bool masked) {
  std::vector<float> result(example.pixels * example.channels, std::nanf(""));
  input_gradient(example.problem(result, masked), 0, example.pixels);
  return result;
}

// Whether every element is within the error that its roundings can add up to.
bool is_accurate(const Example& e) {
  const std::vector<float> result = gradient(e, false);
  const double roundings = static_cast<double>(e.grad_channels) * 0x1p-24;
  for (int64_t i = 0; i < e.pixels * e.channels; ++i) {
    double sum = 0;
    double magnitudes = 0;
    for (int64_t k = 0; k < e.grad_channels; ++k) {
      const double term = double{e.grad[i / e.channels * e.grad_channels + k]} *
                          e.weight[k * e.channels + i % e.channels];
      sum += term;
      magnitudes += std::fabs(term);
    }
    if (!(std::fabs(result[i] - sum) <= roundings / (1 - roundings) * magnitudes)) {
      return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("equals the sum over the channels for any number of pixels and channels") {
  for (int64_t blocks = 1; blocks <= 2 * kMaxBlocks + 1; ++blocks) {
    for (int64_t pixels = 1; pixels <= kMaxSums + 1; ++pixels) {
      CAPTURE(blocks);
      CAPTURE(pixels);
      CHECK(is_accurate(random_example(pixels, 1 + pixels % 3, blocks, 1)));
    }
    CHECK(is_accurate(random_example(kTileRows, 2, blocks, 1)));
    CHECK(is_accurate(random_example(2 * kTileRows + 5, 2, blocks, 1)));
  }
}

TEST_CASE("is zero where the mask is clear, and has the same bits elsewhere") {
  for (const int64_t mask_pixels : {int64_t{1}, int64_t{35}, kTileRows, kTileRows + 7}) {
    CAPTURE(mask_pixels);
    const Example example = random_example(3 * mask_pixels, 1, 2, mask_pixels);
    const std::vector<float> plain = gradient(example, false);
    std::vector<float> expected = plain;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expected[i] = example.relu[i % example.relu.size()] <= 0 ? 0 : plain[i];
    }
    CHECK(gradient(example, true) == expected);
  }
}

TEST_CASE("has the same bits for any split of the pixels, and writes no others") {
  const Example example = random_example(4 * 61, 2, 4, 61);
  const std::vector<float> expected = gradient(example, true);
  for (const int64_t split : {1, 23, 61, 62, 130, 243}) {
    CAPTURE(split);
    std::vector<float> result(expected.size(), -1);
    const InputGradient problem = example.problem(result, true);
    input_gradient(problem, split, example.pixels);
    for (int64_t i = 0; i < split * example.channels; ++i) {
      REQUIRE(result[i] == -1);
    }
    input_gradient(problem, 0, split);
    CHECK(result == expected);
  }
}

TEST_CASE("a NaN reaches every channel of its pixel and no other pixel") {
  Example example = random_example(40, 2, 3, 1);
  example.grad[17 * example.grad_channels + 5] = std::nanf("");
  const std::vector<float> result = gradient(example, false);
  for (int64_t i = 0; i < example.pixels * example.channels; ++i) {
    CHECK(std::isnan(result[i]) == (i / example.channels == 17));
  }
}

TEST_CASE("sums the gradients of several convolutions, and adds them to what is there") {
  const Example first = random_example(50, 1, 2, 25);
  const Example second = random_example(50, 3, 2, 25);
  std::vector<float> result(first.pixels * first.channels, 2);
  InputGradient problem = first.problem(result, true);
  problem.sources.push_back(second.problem(result, true).sources[0]);
  problem.target.add = true;
  input_gradient(problem, 0, first.pixels);
  const std::vector<float> left = gradient(first, true);
  const std::vector<float> right = gradient(second, false);
  for (std::size_t i = 0; i < result.size(); ++i) {
    const bool passes = !(first.relu[i % first.relu.size()] <= 0);
    const float expected = 2 + left[i] + (passes ? right[i] : 0);
    CHECK(std::fabs(result[i] - expected) <=
          1e-5f * (2 + std::fabs(left[i]) + std::fabs(right[i])));
  }
}

TEST_CASE("a convolution is the sum over its input's channels, for any split of the samples") {
  for (const bool rectify : {false, true}) {
    CAPTURE(rectify);
    Example example = random_example(5 * 70, 2, 3, 70);  // more than a tile of rows, and no whole
    const std::vector<float> x = example.grad;
    std::vector<float> result(example.pixels * example.channels, std::nanf(""));
    const Convolution problem{.samples = 5,
                              .pixels = 70,
                              .input_channels = example.grad_channels,
                              .channels = example.channels,
                              .x = x.data(),
                              .weights = example.weight.data(),
                              .rectify = rectify,
                              .result = result.data()};
    ConvolutionWorker worker(problem);
    worker.run(3, 5);
    worker.run(0, 3);
    for (float& number : example.grad) {
      number = rectify && number < 0 ? 0 : number;
    }
    CHECK(result == gradient(example, false));
  }
}

TEST_CASE("ReLU keeps what is not below zero") {
  std::vector<float> x(kChannelBlock, -1);
  x[0] = -0.0f;
  x[1] = std::nanf("");
  x[2] = 3;
  std::vector<float> found(x.size());
  vkdnw::conv1x1::rectify(x.data(), kChannelBlock, found.data());
  CHECK(std::signbit(found[0]));
  CHECK(std::isnan(found[1]));
  CHECK(found[2] == 3);
  CHECK(found[3] == 0);
}
