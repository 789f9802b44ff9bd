#include "kernels/layers/channel_covariance.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

using vkdnw::channel_covariance::covariance;
using vkdnw::channel_covariance::kPartRows;
using vkdnw::channel_covariance::Rows;
using vkdnw::channel_covariance::sum_part;
using vkdnw::channel_covariance::Sums;

namespace {

std::vector<double> covariance_of(const Rows& rows) {
  Sums sums(rows.channels);
  for (int64_t part = 0; part < rows.parts(); ++part) {
    sums.add(sum_part(rows, part));
  }
  std::vector<double> result(rows.channels * rows.channels, NAN);
  covariance(sums, rows.count, result.data());
  return result;
}

double by_definition(const Rows& rows, int64_t i, int64_t j) {
  double mean_i = 0;
  double mean_j = 0;
  for (int64_t r = 0; r < rows.count; ++r) {
    mean_i += rows.data[r * rows.channels + i] / static_cast<double>(rows.count);
    mean_j += rows.data[r * rows.channels + j] / static_cast<double>(rows.count);
  }
  double sum = 0;
  for (int64_t r = 0; r < rows.count; ++r) {
    sum +=
        (rows.data[r * rows.channels + i] - mean_i) * (rows.data[r * rows.channels + j] - mean_j);
  }
  return sum / static_cast<double>(rows.count);
}

}  // namespace

TEST_CASE("agrees with the definition at the edges of tiles, parts and panels") {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal(2);
  for (const int64_t channels : {1, 15, 16, 17, 40}) {
    for (const int64_t count : {int64_t{1}, int64_t{255}, int64_t{257}, kPartRows + 1}) {
      std::vector<float> data(count * channels);
      for (float& number : data) {
        number = normal(rng);
      }
      const Rows rows{.count = count, .channels = channels, .data = data.data()};
      const std::vector<double> found = covariance_of(rows);
      for (const int64_t i : {int64_t{0}, channels / 2, channels - 1}) {
        for (const int64_t j : {int64_t{0}, channels / 2, channels - 1}) {
          CHECK(std::abs(found[i * channels + j] - by_definition(rows, i, j)) <= 1e-11);
        }
      }
    }
  }
}

TEST_CASE("what is constant has a covariance of exactly zero") {
  const std::vector<float> data(1000 * 16, 0.1f);
  for (const double entry : covariance_of({.count = 1000, .channels = 16, .data = data.data()})) {
    CHECK(entry == 0);
  }
}
