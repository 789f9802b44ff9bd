// Helpers of the tests of tapes.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/tape/tape.h"
#include "tests/random_numbers.h"

namespace vkdnw::tests {

// Normal, with deviation 1/8: sums of products of many of them stay near 1.
inline std::vector<float> small_numbers(int64_t count, std::mt19937& rng) {
  std::vector<float> numbers = random_numbers(count, rng);
  for (float& number : numbers) {
    number /= 8;
  }
  return numbers;
}

// The tape for sample n alone: as small as a piece can get.
inline tape::Tape one_sample(tape::Tape tape, int64_t n) {
  tape.samples = 1;
  for (std::size_t i = 0; i < tape.cotangents.size(); ++i) {
    tape.cotangents[i].data += n * tape.values[i].floats();
  }
  return tape;
}

}  // namespace vkdnw::tests
