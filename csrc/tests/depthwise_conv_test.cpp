#include "kernels/conv/depthwise_conv.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/packed_mask.h"
#include "tests/random_numbers.h"

using vkdnw::depthwise_conv::Axis;
using vkdnw::depthwise_conv::InputGradient;
using vkdnw::depthwise_conv::InputGradientWorker;
using vkdnw::depthwise_conv::kFloats;
using vkdnw::depthwise_conv::kMostPixels;
using vkdnw::tests::packed_mask;
using vkdnw::tests::random_numbers;

namespace {

constexpr int64_t kSamples = 3;
constexpr int64_t kChannels = 2 * vkdnw::relu::kGroup;

Axis axis(int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
  const int64_t outputs = (size + 2 * padding - kernel) / stride + 1;
  return {
      .size = size, .grad_size = outputs, .kernel = kernel, .stride = stride, .padding = padding};
}

struct Example {
  Axis rows;
  Axis columns;
  std::vector<float> grad;
  std::vector<float> weights;
  std::vector<float> relu;  // of two samples, whose masks start again at the third
  std::vector<float> before;
  std::vector<uint8_t> mask;

  InputGradient problem(std::vector<float>& result, bool add, bool masked) const {
    return {.samples = kSamples,
            .rows = rows,
            .columns = columns,
            .channels = kChannels,
            .grad = grad.data(),
            .weights = weights.data(),
            .target = {.data = result.data(),
                       .add = add,
                       .mask = masked ? mask.data() : nullptr,
                       .mask_samples = 2,
                       .mask_first = 0}};
  }
};

Example random_example(const Axis& rows, const Axis& columns) {
  std::mt19937 rng(11);
  Example example{.rows = rows,
                  .columns = columns,
                  .grad = {},
                  .weights = {},
                  .relu = {},
                  .before = {},
                  .mask = {}};
  const int64_t image = rows.size * columns.size * kChannels;
  example.grad = random_numbers(kSamples * rows.grad_size * columns.grad_size * kChannels, rng);
  example.weights = random_numbers(rows.kernel * columns.kernel * kChannels, rng);
  example.relu = random_numbers(2 * image, rng);
  example.before = random_numbers(kSamples * image, rng);
  example.mask = packed_mask(example.relu);
  return example;
}

// Output by output, as the forward pass reads them, in float64.
std::vector<double> expected(const Example& example, bool add, bool masked) {
  const Axis& rows = example.rows;
  const Axis& columns = example.columns;
  const int64_t image = rows.size * columns.size * kChannels;
  std::vector<double> result(kSamples * image, 0);
  for (int64_t i = 0; i < static_cast<int64_t>(example.grad.size()); ++i) {
    const int64_t channel = i % kChannels;
    const int64_t pixel = i / kChannels;
    const int64_t x = pixel % columns.grad_size;
    const int64_t y = pixel / columns.grad_size % rows.grad_size;
    const int64_t sample = pixel / columns.grad_size / rows.grad_size;
    for (int64_t tap = 0; tap < rows.kernel * columns.kernel; ++tap) {
      const int64_t to_y = y * rows.stride - rows.padding + tap / columns.kernel;
      const int64_t to_x = x * columns.stride - columns.padding + tap % columns.kernel;
      if (to_y >= 0 && to_y < rows.size && to_x >= 0 && to_x < columns.size) {
        result[sample * image + (to_y * columns.size + to_x) * kChannels + channel] +=
            static_cast<double>(example.grad[i]) * example.weights[tap * kChannels + channel];
      }
    }
  }
  for (int64_t i = 0; i < kSamples * image; ++i) {
    if (masked && example.relu[i % (2 * image)] <= 0) {
      result[i] = 0;
    }
    result[i] += add ? example.before[i] : 0;
  }
  return result;
}

void check(const Example& example, bool add, bool masked) {
  std::vector<float> result = example.before;
  const InputGradient problem = example.problem(result, add, masked);
  InputGradientWorker worker(problem);
  worker.run(0, 1);
  worker.run(1, kSamples);
  const std::vector<double> slow = expected(example, add, masked);
  // At most 49 products of normal numbers: some roundings of a sum of size ten.
  for (std::size_t i = 0; i < slow.size(); ++i) {
    REQUIRE(std::abs(result[i] - slow[i]) < 1e-4);
  }
}

}  // namespace

TEST_CASE("equals the sum over outputs, for any kernel, stride and padding") {
  for (const int64_t kernel : {1, 2, 3, 5, 7}) {
    for (const int64_t stride : {1, 2, 3}) {
      for (const int64_t padding : {int64_t{0}, kernel / 2, kernel}) {
        CAPTURE(kernel);
        CAPTURE(stride);
        CAPTURE(padding);
        const Axis rows = axis(8, kernel, stride, padding);
        const Axis columns = axis(kMostPixels + 3, kernel, stride, padding);
        check(random_example(rows, columns), false, false);
        check(random_example(rows, columns), true, true);
      }
    }
  }
}

TEST_CASE("maps smaller than the kernel, of which most taps reach nothing") {
  for (const int64_t size : {1, 2, 3}) {
    CAPTURE(size);
    check(random_example(axis(size, 7, 1, 3), axis(size, 7, 1, 3)), false, true);
    check(random_example(axis(size, 7, 2, 3), axis(size + 1, 5, 2, 2)), true, false);
  }
}

TEST_CASE("what no output reads has no gradient") {
  const Axis rows = axis(7, 1, 3, 0);
  const Example example = random_example(rows, rows);
  std::vector<float> result(example.before.size(), std::nanf(""));
  const InputGradient problem = example.problem(result, false, false);
  InputGradientWorker(problem).run(0, kSamples);
  for (int64_t pixel = 0; pixel < 7 * 7; ++pixel) {
    const bool read = pixel % 7 % 3 == 0 && pixel / 7 % 3 == 0;
    CHECK((result[pixel * kChannels] != 0) == read);
  }
}
