#include "kernels/layers/normalised_sum.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/packed_mask.h"
#include "tests/random_numbers.h"

using namespace vkdnw;
using normalised_sum::Summand;
using vkdnw::tests::random_numbers;

namespace {

constexpr int64_t kSamples = 3;
constexpr int64_t kHeight = 10;
constexpr int64_t kWidth = 9;  // of which nine rows fill a chunk
constexpr int64_t kChannels = 48;
constexpr int64_t kNumbers = kSamples * kHeight * kWidth * kChannels;

constexpr batch_norm::Coefficients kAsItIs{
    .scale = nullptr, .slope = nullptr, .mean = nullptr, .shift = nullptr};

// A summand by itself.
std::vector<float> alone(const Summand& summand) {
  std::vector<float> result(summand.x, summand.x + kNumbers);
  if (summand.pooled) {
    avg_pool::input_gradient({.samples = kSamples,
                              .height = kHeight,
                              .width = kWidth,
                              .channels = kChannels,
                              .grad = summand.x,
                              .result = result.data(),
                              .add = false,
                              .mean = true},
                             0, kSamples * kHeight);
  } else if (summand.by.scale != nullptr) {
    batch_norm::normalise<false>(summand.by, kNumbers / kChannels, kChannels, summand.x, nullptr,
                                 result.data());
  }
  return result;
}

std::vector<float> from_left_to_right(const std::vector<Summand>& summands) {
  std::vector<float> sum = alone(summands[0]);
  for (std::size_t i = 1; i < summands.size(); ++i) {
    const std::vector<float> next = alone(summands[i]);
    for (std::size_t j = 0; j < sum.size(); ++j) {
      sum[j] += next[j];
    }
  }
  return sum;
}

}  // namespace

TEST_CASE("sums from left to right, with the mask of the result, for any split of the rows") {
  const std::vector<float> table = random_numbers(3 * kChannels, 1);
  const batch_norm::Coefficients norm{.scale = table.data(),
                                      .slope = nullptr,
                                      .mean = table.data() + kChannels,
                                      .shift = table.data() + 2 * kChannels};
  const std::vector<float> a = random_numbers(kNumbers, 2);
  const std::vector<float> b = random_numbers(kNumbers, 3);
  const std::vector<float> c = random_numbers(kNumbers, 4);
  const Summand plain{.x = a.data(), .by = kAsItIs, .pooled = false};
  const Summand other{.x = b.data(), .by = kAsItIs, .pooled = false};
  const Summand normed{.x = b.data(), .by = norm, .pooled = false};
  const Summand last{.x = c.data(), .by = norm, .pooled = false};
  const Summand pooled{.x = c.data(), .by = kAsItIs, .pooled = true};
  for (const std::vector<Summand>& summands : {std::vector<Summand>{plain},
                                               {normed},
                                               {pooled},
                                               {plain, normed},
                                               {normed, plain, last},
                                               {plain, other, last},
                                               {pooled, normed, plain},
                                               {normed, pooled, pooled}}) {
    const std::vector<float> expected = from_left_to_right(summands);
    std::vector<float> result(kNumbers, NAN);
    std::vector<uint8_t> mask(kNumbers / 8);
    const normalised_sum::Sum problem{.samples = kSamples,
                                      .height = kHeight,
                                      .width = kWidth,
                                      .channels = kChannels,
                                      .summands = summands,
                                      .result = result.data(),
                                      .mask = mask.data()};
    normalised_sum::SumWorker worker(problem);
    worker.run(13, problem.rows());
    worker.run(0, 13);
    CHECK(result == expected);
    CHECK(mask == tests::packed_mask(expected));
  }
}
