#include "kernels/fisher/jacobian_columns.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

using namespace vkdnw;

namespace {

// A tensor [outer, channels, 1, height, width] in channels-last order, filled with small integers:
// sums of their products are exact in float.
struct Planes {
  int64_t outer, channels, height, width;
  std::vector<float> data;

  Planes(int64_t outer, int64_t channels, int64_t height, int64_t width)
      : outer(outer), channels(channels), height(height), width(width) {
    for (int64_t i = 0; i < outer * channels * height * width; ++i) {
      data.push_back(static_cast<float>(i * 7 % 11 - 5));
    }
  }
  float at(int64_t n, int64_t c, int64_t y, int64_t x) const {
    return data[((n * height + y) * width + x) * channels + c];
  }
  // Seen as [cotangents, samples], or as samples alone.
  LayerTensor<float> view(int64_t samples, bool with_cotangents) const {
    const int64_t plane = channels * height * width;
    return {.data = data.data(),
            .extent = {1, height, width},
            .cotangent_stride = with_cotangents ? samples * plane : 0,
            .sample_stride = plane,
            .channel_stride = 1,
            .stride = {0, width * channels, channels}};
  }
};

double direct(const Planes& input, const Planes& grad, const Pick& pick, int64_t samples, int64_t k,
              int64_t n) {
  double sum = 0;
  for (int64_t y = 0; y < grad.height; ++y) {
    for (int64_t x = 0; x < grad.width; ++x) {
      const int64_t in_y = pick.start[1] + pick.step[1] * y;
      const int64_t in_x = pick.start[2] + pick.step[2] * x;
      const bool inside = in_y >= 0 && in_y < input.height && in_x >= 0 && in_x < input.width;
      const double g = grad.at(k * samples + n, pick.grad_channel, y, x);
      if (pick.input_channel == Pick::kOnes) {
        sum += g;
      } else if (inside) {
        sum += g * (input.at(n, pick.input_channel, in_y, in_x) - pick.shift);
      }
    }
  }
  return pick.scale * sum;
}

}  // namespace

TEST_CASE("inside_range keeps the outputs whose input exists") {
  for (int64_t start = -7; start <= 7; ++start) {
    for (int64_t step = 1; step <= 3; ++step) {
      for (int64_t input = 1; input <= 5; ++input) {
        for (int64_t output = 1; output <= 5; ++output) {
          const InsideRange range = inside_range(start, step, input, output);
          for (int64_t o = 0; o < output; ++o) {
            const int64_t at = start + step * o;
            CHECK((o >= range.first && o < range.last) == (at >= 0 && at < input));
          }
        }
      }
    }
  }
}

TEST_CASE("columns of a strided, padded layer in channels-last memory") {
  const int64_t samples = 2, cotangents = 3;
  const Planes input(samples, 3, 9, 7);
  const Planes grad(cotangents * samples, 2, 5, 4);
  std::vector<Pick> picks{{0, 0, 1, 2, {0, -1, -1}, {1, 2, 2}, 0.0, 1.0},
                          {2, 0, 0, 1, {0, 0, 1}, {1, 2, 1}, 2.0, -1.0},
                          {0, 0, 1, Pick::kOnes, {0, 0, 0}, {1, 1, 1}, 0.0, 2.0},
                          {1, 0, 1, 0, {0, -9, 0}, {1, 1, 1}, 0.0, 1.0}};  // never inside
  std::vector<float> jacobian(samples * cotangents * 3, 1.0f);
  const JacobianColumnsProblem<float> problem{.samples = samples,
                                              .cotangents = cotangents,
                                              .inputs = {input.view(samples, false)},
                                              .grads = {grad.view(samples, true)},
                                              .picks = picks,
                                              .jacobian = jacobian.data(),
                                              .jacobian_sample_stride = cotangents * 3,
                                              .jacobian_cotangent_stride = 3};
  const auto plan = plan_jacobian_columns(problem);
  CHECK(plan.groups.size() == 2);

  SUBCASE("all items at once") {
    JacobianColumnsWorker<float>(problem, plan).run(0, samples * cotangents);
  }
  SUBCASE("items split within a sample") {
    JacobianColumnsWorker<float>(problem, plan).run(0, 2);
    JacobianColumnsWorker<float>(problem, plan).run(2, samples * cotangents);
  }
  SUBCASE("one cotangent at a time") {
    auto narrow = plan;
    narrow.cotangents_at_once = 1;
    JacobianColumnsWorker<float>(problem, narrow).run(0, samples * cotangents);
  }
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t k = 0; k < cotangents; ++k) {
      std::vector<double> expected(3, 1.0);
      for (const Pick& pick : picks) {
        expected[pick.column] += direct(input, grad, pick, samples, k, n);
      }
      for (int64_t column = 0; column < 3; ++column) {
        CHECK(jacobian[(n * cotangents + k) * 3 + column] == expected[column]);
      }
    }
  }
}

TEST_CASE("layers with the very same gradients share a group") {
  const Planes input(1, 1, 4, 4), grad(1, 1, 4, 4), other(1, 1, 4, 4);
  const auto x = input.view(1, false);
  const JacobianColumnsProblem<float> problem{
      .samples = 1,
      .cotangents = 1,
      .inputs = {x, x, x},
      .grads = {grad.view(1, true), other.view(1, true), grad.view(1, true)},
      .picks = {{0, 0, 0, 0, {}, {1, 1, 1}, 0, 1},
                {1, 1, 0, 0, {}, {1, 1, 1}, 0, 1},
                {2, 2, 0, 0, {}, {1, 1, 1}, 0, 1}},
      .jacobian = nullptr,
      .jacobian_sample_stride = 0,
      .jacobian_cotangent_stride = 0};
  CHECK(plan_jacobian_columns(problem).groups.size() == 2);
}

TEST_CASE("bfloat16 and float16 widen exactly") {
  CHECK(widen(BFloat16{0x3fc0}) == 1.5f);
  CHECK(widen(BFloat16{0xc000}) == -2.0f);
  CHECK(std::isnan(widen(BFloat16{0x7fc0})));
  CHECK(widen(Float16{0x3e00}) == 1.5f);
  CHECK(widen(Float16{0x0001}) == std::ldexp(1.0f, -24));
  CHECK(widen(Float16{0xfbff}) == -65504.0f);
  CHECK(widen(Float16{0xfc00}) == -INFINITY);
  CHECK(std::isnan(widen(Float16{0x7e00})));
}
