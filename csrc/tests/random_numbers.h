// Normally distributed numbers.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace vkdnw::tests {

inline std::vector<float> random_numbers(int64_t count, std::mt19937& rng, float mean = 0) {
  std::normal_distribution<float> normal(mean);
  std::vector<float> numbers(count);
  for (float& number : numbers) {
    number = normal(rng);
  }
  return numbers;
}

inline std::vector<float> random_numbers(int64_t count, unsigned seed, float mean = 0) {
  std::mt19937 rng(seed);
  return random_numbers(count, rng, mean);
}

}  // namespace vkdnw::tests
