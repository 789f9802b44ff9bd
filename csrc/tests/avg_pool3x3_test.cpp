#include "kernels/layers/avg_pool3x3.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

using vkdnw::avg_pool::input_gradient;
using vkdnw::avg_pool::InputGradient;

namespace {

struct Shape {
  int64_t samples;
  int64_t height;
  int64_t width;
  int64_t channels;

  int64_t numel() const { return samples * height * width * channels; }
  int64_t at(int64_t n, int64_t y, int64_t x, int64_t c) const {
    return ((n * height + y) * width + x) * channels + c;
  }
};

std::vector<float> gradient(const Shape& shape, const std::vector<float>& grad) {
  std::vector<float> result(shape.numel(), std::nanf(""));
  const InputGradient problem{.samples = shape.samples,
                              .height = shape.height,
                              .width = shape.width,
                              .channels = shape.channels,
                              .grad = grad.data(),
                              .result = result.data(),
                              .add = false};
  input_gradient(problem, 0, problem.rows());
  return result;
}

// Each output hands an equal share to every input that it is the mean of.
std::vector<double> direct(const Shape& s, const std::vector<float>& grad) {
  std::vector<double> result(s.numel());
  for (int64_t n = 0; n < s.samples; ++n) {
    for (int64_t y = 0; y < s.height; ++y) {
      for (int64_t x = 0; x < s.width; ++x) {
        const int64_t top = std::max<int64_t>(y - 1, 0), left = std::max<int64_t>(x - 1, 0);
        const int64_t bottom = std::min(y + 1, s.height - 1), right = std::min(x + 1, s.width - 1);
        const double count = static_cast<double>((bottom - top + 1) * (right - left + 1));
        for (int64_t i = top; i <= bottom; ++i) {
          for (int64_t j = left; j <= right; ++j) {
            for (int64_t c = 0; c < s.channels; ++c) {
              result[s.at(n, i, j, c)] += grad[s.at(n, y, x, c)] / count;
            }
          }
        }
      }
    }
  }
  return result;
}

}  // namespace

TEST_CASE("every output hands an equal share to the inputs that it is the mean of") {
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{2, 1, 5, 3}, Shape{2, 6, 1, 16},
                             Shape{1, 2, 2, 17}, Shape{3, 4, 5, 35}, Shape{1, 8, 9, 48}}) {
    CAPTURE(shape.height);
    CAPTURE(shape.width);
    CAPTURE(shape.channels);
    std::vector<float> grad(shape.numel());
    for (int64_t i = 0; i < shape.numel(); ++i) {
      grad[i] = std::sin(static_cast<float>(i) * 1.7f);
    }
    const std::vector<double> expected = direct(shape, grad);
    const std::vector<float> result = gradient(shape, grad);
    for (int64_t i = 0; i < shape.numel(); ++i) {
      // The magnitudes of the terms add up to less than 2; each is rounded at most eight times.
      CHECK(std::fabs(result[i] - expected[i]) <= 2 * 8 * 0x1p-24);
    }
  }
}

TEST_CASE("an infinity reaches its neighbours as an infinity, and no other pixel") {
  const Shape shape{1, 5, 4, 16};
  std::vector<float> grad(shape.numel(), 1.0f);
  grad[shape.at(0, 0, 0, 3)] = std::numeric_limits<float>::infinity();
  const std::vector<float> result = gradient(shape, grad);
  for (int64_t y = 0; y < shape.height; ++y) {
    for (int64_t x = 0; x < shape.width; ++x) {
      CHECK(std::isinf(result[shape.at(0, y, x, 3)]) == (y <= 1 && x <= 1));
      CHECK(std::isfinite(result[shape.at(0, y, x, 2)]));
    }
  }
}

TEST_CASE("adds to what is there") {
  const Shape shape{.samples = 2, .height = 4, .width = 3, .channels = 17};
  std::vector<float> grad(shape.numel());
  for (int64_t i = 0; i < shape.numel(); ++i) {
    grad[i] = static_cast<float>(i % 13 - 6);
  }
  const std::vector<float> plain = gradient(shape, grad);
  std::vector<float> result(shape.numel(), 2);
  const InputGradient problem{.samples = shape.samples,
                              .height = shape.height,
                              .width = shape.width,
                              .channels = shape.channels,
                              .grad = grad.data(),
                              .result = result.data(),
                              .add = true};
  input_gradient(problem, 0, problem.rows());
  for (int64_t i = 0; i < shape.numel(); ++i) {
    CHECK(result[i] == 2 + plain[i]);
  }
}
