#include "kernels/layers/relu_mask.h"

#include <doctest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "tests/packed_mask.h"
#include "tests/random_numbers.h"

using namespace vkdnw::relu;
using vkdnw::tests::packed_mask;
using vkdnw::tests::random_numbers;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Rectified {
  std::vector<float> relu;
  std::vector<uint8_t> mask;
};

Rectified rectified(const std::vector<float>& x) {
  const int64_t groups = static_cast<int64_t>(x.size()) / kGroup;
  Rectified result{.relu = std::vector<float>(x.size(), -1), .mask = {}};
  result.mask.assign(x.size() / 8, 0xaa);
  const Rectification problem{
      .groups = groups, .x = x.data(), .relu = result.relu.data(), .mask = result.mask.data()};
  rectify(problem, 0, groups / 2);
  rectify(problem, groups / 2, groups);
  return result;
}

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

}  // namespace

TEST_CASE("each position of a group has a number and a bit of its own") {
  for (int64_t set = 0; set < 2 * kGroup; ++set) {
    CAPTURE(set);
    std::vector<float> x(2 * kGroup, -1);
    x[set] = 2;
    const Rectified result = rectified(x);
    CHECK(result.mask == packed_mask(x));
    for (int64_t i = 0; i < 2 * kGroup; ++i) {
      CHECK(result.relu[i] == (i == set ? 2 : 0));
    }
  }
}

TEST_CASE("zeros keep their sign, and a NaN stays and lets the gradient pass") {
  const float smallest = std::numeric_limits<float>::denorm_min();
  const std::vector<float> kinds = {0.0f,      -0.0f,      kNaN,     -kNaN,
                                    kInfinity, -kInfinity, smallest, -smallest};
  std::vector<float> x;
  for (int64_t i = 0; i < kGroup; ++i) {
    x.push_back(kinds[i % kinds.size()]);
  }
  const Rectified result = rectified(x);
  CHECK(result.mask == packed_mask(x));
  CHECK(result.mask[0] == 0b01011100);
  for (int64_t i = 0; i < kGroup; ++i) {
    CAPTURE(i);
    CHECK(same_bits(result.relu[i], x[i] < 0 ? 0.0f : x[i]));
  }
}

TEST_CASE("a gradient passes unchanged where its bit is set, from any vector on") {
  const std::vector<float> x = random_numbers(8 * kGroup, 3);
  std::vector<float> gradient = random_numbers(8 * kGroup, 3);
  gradient[5] = gradient[6] = kNaN;
  gradient[7] = gradient[8] = kInfinity;
  const std::vector<uint8_t> mask = packed_mask(x);
  for (std::size_t first = 0; first < x.size(); first += kFloats) {
    float result[kFloats];
    vkdnw::store_simd<vkdnw::kNativeBytes>(
        result, masked(vkdnw::load_simd<vkdnw::kNativeBytes>(&gradient[first]), mask.data(),
                       static_cast<int64_t>(first)));
    for (int64_t lane = 0; lane < kFloats; ++lane) {
      const float expected = x[first + lane] <= 0 ? 0.0f : gradient[first + lane];
      CHECK(same_bits(result[lane], expected));
    }
  }
}

TEST_CASE("channels are filled up to whole groups with bits that are clear") {
  constexpr int64_t kPixels = 3;
  for (const int64_t channels : {kGroup, kGroup + 3, kGroup - 1}) {
    CAPTURE(channels);
    const int64_t padded = 8 * mask_bytes(channels);
    const std::vector<float> relu = random_numbers(kPixels * channels, 3);
    std::vector<float> filled(kPixels * padded, 0);
    for (int64_t i = 0; i < kPixels * channels; ++i) {
      filled[i / channels * padded + i % channels] = relu[i];
    }
    std::vector<uint8_t> mask(kPixels * mask_bytes(channels), 0xaa);
    const Masking problem{
        .pixels = kPixels, .channels = channels, .relu = relu.data(), .mask = mask.data()};
    mask_pixels(problem, 0, 1);
    mask_pixels(problem, 1, kPixels);
    CHECK(mask == packed_mask(filled));
  }
}
