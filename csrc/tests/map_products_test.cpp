#include "kernels/layers/map_products.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/random_numbers.h"

using vkdnw::map_products::Maps;
using vkdnw::tests::random_numbers;

namespace {

constexpr float kRoundings = 30 * 0x1p-24f;  // of a run of products in float32

}  // namespace

TEST_CASE("stacks the pixels that fall on one pixel, and agrees with double precision") {
  for (const int64_t times : {1, 2, 3}) {
    for (const int64_t width : {1, 7, 40}) {
      const int64_t height = 17;
      const std::vector<float> wide = random_numbers(times * times * height * width * 32, 1);
      const std::vector<float> narrow = random_numbers(height * width * 48, 2);
      const Maps maps{.height = height,
                      .width = width,
                      .times = times,
                      .wide_channels = 32,
                      .narrow_channels = 48,
                      .wide = wide.data(),
                      .narrow = narrow.data()};
      std::vector<float> sums(maps.size(), std::nanf(""));
      vkdnw::map_products::multiply(maps, sums.data());
      for (int64_t row = 0; row < maps.rows(); ++row) {
        const int64_t i = row / 32 / times;
        const int64_t j = row / 32 % times;
        for (int64_t b = 0; b < 48; ++b) {
          double expected = 0;
          double magnitude = 0;
          for (int64_t y = 0; y < height; ++y) {
            for (int64_t x = 0; x < width; ++x) {
              const int64_t pixel = (times * y + i) * times * width + times * x + j;
              const double product = static_cast<double>(wide[pixel * 32 + row % 32]) *
                                     narrow[(y * width + x) * 48 + b];
              expected += product;
              magnitude += std::fabs(product);
            }
          }
          REQUIRE(std::fabs(sums[row * 48 + b] - expected) <= kRoundings * magnitude);
        }
      }
    }
  }
}
