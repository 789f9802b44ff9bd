#include "kernels/layers/batch_norm.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/random_numbers.h"

using namespace vkdnw;
using batch_norm::Size;
using vkdnw::tests::random_numbers;

namespace {

// Coefficients with their memory, which are arbitrary numbers.
struct Table {
  std::vector<float> numbers;
  batch_norm::Coefficients by;

  explicit Table(int64_t channels)
      : numbers(random_numbers(4 * channels, 3, 0.5f)),
        by{.scale = numbers.data(),
           .slope = numbers.data() + channels,
           .mean = numbers.data() + 2 * channels,
           .shift = numbers.data() + 3 * channels} {}
};

constexpr float kRoundings = 20 * 0x1p-24f;  // a run of sums in float32, and of sums of these

}  // namespace

TEST_CASE("sums of products agree with double precision for any number of pixels") {
  for (const int64_t channels : {16, 48}) {
    for (const int64_t pixels : {1, 2, 15, 16, 17, 33}) {
      const Size size{.samples = 1, .pixels = pixels, .channels = channels};
      const std::vector<float> a = random_numbers(size.floats_per_sample(), 1, 0);
      const std::vector<float> x = random_numbers(size.floats_per_sample(), 2, 3);
      std::vector<double> sums(2 * channels);
      std::vector<double> squares(2 * channels);
      batch_norm::sum_products<false, 1>(size, {a.data()}, x.data(), x.data(), {sums.data()});
      batch_norm::sum_products<true, 1>(size, {nullptr}, x.data(), x.data(), {squares.data()});
      std::vector<double> again(2 * channels);
      std::vector<double> other(2 * channels);
      batch_norm::sum_products<false, 2>(size, {x.data(), a.data()}, x.data(), x.data(),
                                         {other.data(), again.data()});
      CHECK(again == sums);
      for (int64_t c = 0; c < channels; ++c) {
        double expected[4] = {};
        double magnitude = 0;
        for (int64_t i = c; i < size.floats_per_sample(); i += channels) {
          const double centred = static_cast<double>(x[i]) - x[c];
          expected[0] += a[i];
          expected[1] += a[i] * centred;
          expected[2] += centred;
          expected[3] += centred * centred;
          magnitude += (std::abs(a[i]) + std::abs(centred)) * (1 + std::abs(centred));
        }
        CHECK(std::abs(sums[c] - expected[0]) <= kRoundings * magnitude);
        CHECK(std::abs(sums[channels + c] - expected[1]) <= kRoundings * magnitude);
        CHECK(std::abs(squares[c] - expected[2]) <= kRoundings * magnitude);
        CHECK(std::abs(squares[channels + c] - expected[3]) <= kRoundings * magnitude);
      }
    }
  }
}

TEST_CASE("samples are added to the first") {
  const Size size{.samples = 3, .pixels = 1, .channels = 1};
  std::vector<double> sums{1, 2, 10, 20, 100, 200};
  batch_norm::add_samples(size, sums.data());
  CHECK(sums[0] == 111);
  CHECK(sums[1] == 222);
}

TEST_CASE("statistics of what does not vary, and of a NaN") {
  const batch_norm::Moments flat = batch_norm::moments(5, 0, -1e-30, 10);
  CHECK(flat.mean == 5);
  CHECK(flat.variance == 0);
  CHECK(batch_norm::statistics(flat, 0.25).inverse_deviation == 2);
  const batch_norm::Moments undefined = batch_norm::moments(5, NAN, NAN, 10);
  CHECK(std::isnan(batch_norm::statistics(undefined, 0.25).inverse_deviation));
}

TEST_CASE("moments are those of the numbers, whatever the origin") {
  const batch_norm::Moments found = batch_norm::moments(3, -2 + 0 + 2 + 4, 4 + 0 + 4 + 16, 4);
  CHECK(found.mean == 4);  // of 1, 3, 5, 7
  CHECK(found.variance == 5);
}

TEST_CASE("every number is normalised, whatever the number of pixels and channels") {
  for (const int64_t channels : {16, 80}) {
    for (const int64_t pixels : {1, 3, 300}) {
      const Table table(channels);
      const std::vector<float> x = random_numbers(pixels * channels, 1, 0);
      const std::vector<float> other = random_numbers(pixels * channels, 2, 0);
      std::vector<float> plain(x.size(), NAN);
      std::vector<float> sum(x.size(), NAN);
      std::vector<float> gradient(x.size(), NAN);
      batch_norm::normalise<false>(table.by, pixels, channels, x.data(), nullptr, plain.data());
      batch_norm::normalise<true>(table.by, pixels, channels, x.data(), other.data(), sum.data());
      batch_norm::input_gradient(table.by, pixels, channels, other.data(), x.data(),
                                 gradient.data());
      for (int64_t i = 0; i < pixels * channels; ++i) {
        const int64_t c = i % channels;
        const double centred = static_cast<double>(x[i]) - table.by.mean[c];
        CHECK(plain[i] == doctest::Approx(table.by.scale[c] * centred + table.by.shift[c]));
        CHECK(sum[i] == other[i] + plain[i]);
        CHECK(gradient[i] == doctest::Approx(static_cast<double>(table.by.scale[c]) * other[i] +
                                             table.by.slope[c] * centred + table.by.shift[c]));
      }
    }
  }
}
