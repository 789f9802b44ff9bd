#include "kernels/conv/conv_moments.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

using namespace vkdnw;

namespace {

// Writes numbers that say where they are, and remembers its calls.
struct Counting {
  batch_norm::Size size;
  float* data;
  std::vector<int64_t> ends;

  void run(int64_t first, int64_t last) {
    for (int64_t i = first * size.floats_per_sample(); i < last * size.floats_per_sample(); ++i) {
      data[i] = static_cast<float>(i % 97);
    }
    ends.push_back(last);
  }
};

}  // namespace

TEST_CASE("what is written piece by piece is summed up sample by sample") {
  constexpr batch_norm::Size kSize{.samples = 7, .pixels = 1024, .channels = 16};
  std::vector<float> data(kSize.samples * kSize.floats_per_sample(), NAN);
  std::vector<double> sums(kSize.samples * 2 * kSize.channels, NAN);
  const conv_moments::Output output{.size = kSize, .data = data.data(), .sums = sums.data()};
  REQUIRE(output.pieces() == 3);
  Counting worker{.size = kSize, .data = data.data(), .ends = {}};
  conv_moments::convolve(worker, output, 0, 1);
  conv_moments::convolve(worker, output, 1, 3);
  CHECK(worker.ends == std::vector<int64_t>{3, 6, 7});
  for (int64_t sample = 0; sample < kSize.samples; ++sample) {
    std::vector<double> expected(2 * kSize.channels);
    const float* x = data.data() + sample * kSize.floats_per_sample();
    batch_norm::sum_products<true, 1>(kSize, {x}, x, data.data(), {expected.data()});
    for (int64_t i = 0; i < 2 * kSize.channels; ++i) {
      CHECK(sums[sample * 2 * kSize.channels + i] == expected[i]);
    }
  }
}

TEST_CASE("samples of Winograd's algorithm are runs of its tiles") {
  constexpr int64_t kSide = 6;  // two tiles, of which one is cut
  constexpr int64_t kNumbers = kSide * kSide * winograd::kChannelBlock;
  std::vector<float> x(3 * kNumbers);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(i % 13);
  }
  const std::vector<float> weights(
      winograd::kPositions * winograd::kChannelBlock * winograd::kChannelBlock, 0.25f);
  std::vector<float> whole(x.size(), NAN);
  std::vector<float> parts(x.size(), NAN);
  winograd::InputGradient problem{
      .samples = 3,
      .height = kSide,
      .width = kSide,
      .channels = winograd::kChannelBlock,
      .sources = {{.channels = winograd::kChannelBlock,
                   .grad = x.data(),
                   .weights = weights.data(),
                   .patches = nullptr,
                   .transformed = false}},
      .target = {
          .data = whole.data(), .add = false, .mask = nullptr, .mask_samples = 0, .mask_first = 0}};
  winograd::InputGradientWorker(problem).run(0, problem.tiles());
  problem.target.data = parts.data();
  conv_moments::Conv3x3Worker worker(problem);
  worker.run(1, 3);
  CHECK(std::isnan(parts[kNumbers - 1]));
  worker.run(0, 1);
  CHECK(parts == whole);
}
