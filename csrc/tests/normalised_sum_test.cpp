#include "kernels/normalised_sum.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/packed_mask.h"

using namespace vkdnw;
using normalised_sum::Summand;

namespace {

std::vector<float> random_numbers(int64_t count, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float& number : numbers) {
    number = normal(rng);
  }
  return numbers;
}

// What a summand is by itself.
std::vector<float> alone(const Summand& summand, int64_t pixels, int64_t channels) {
  std::vector<float> result(summand.x, summand.x + pixels * channels);
  if (summand.by.scale != nullptr) {
    batch_norm::normalise<false>(summand.by, pixels, channels, summand.x, nullptr, result.data());
  }
  return result;
}

constexpr batch_norm::Coefficients kAsItIs{
    .scale = nullptr, .slope = nullptr, .mean = nullptr, .shift = nullptr};

}  // namespace

TEST_CASE("sums from left to right, with the mask of the result, for any split of the pixels") {
  constexpr int64_t kChannels = 48;
  constexpr int64_t kPixels = 200;  // more than two chunks of 4,096 numbers
  const std::vector<float> table = random_numbers(3 * kChannels, 1);
  const batch_norm::Coefficients norm{.scale = table.data(),
                                      .slope = nullptr,
                                      .mean = table.data() + kChannels,
                                      .shift = table.data() + 2 * kChannels};
  const std::vector<float> a = random_numbers(kPixels * kChannels, 2);
  const std::vector<float> b = random_numbers(kPixels * kChannels, 3);
  const std::vector<float> c = random_numbers(kPixels * kChannels, 4);
  const Summand plain{a.data(), kAsItIs};
  const Summand other{b.data(), kAsItIs};
  const Summand normed{b.data(), norm};
  const Summand last{c.data(), norm};
  for (const std::vector<Summand>& summands : {std::vector<Summand>{plain},
                                               {normed},
                                               {plain, normed},
                                               {normed, plain, last},
                                               {plain, other, last},
                                               {normed, last, normed}}) {
    std::vector<float> expected = alone(summands[0], kPixels, kChannels);
    for (std::size_t i = 1; i < summands.size(); ++i) {
      const std::vector<float> next = alone(summands[i], kPixels, kChannels);
      for (std::size_t j = 0; j < expected.size(); ++j) {
        expected[j] += next[j];
      }
    }
    std::vector<float> result(expected.size(), NAN);
    std::vector<uint8_t> mask(expected.size() / 8);
    const normalised_sum::Sum problem{.pixels = kPixels,
                                      .channels = kChannels,
                                      .summands = summands,
                                      .result = result.data(),
                                      .mask = mask.data()};
    normalised_sum::add_pixels(problem, 97, kPixels);
    normalised_sum::add_pixels(problem, 0, 97);
    CHECK(result == expected);
    CHECK(mask == tests::packed_mask(expected));
  }
}
