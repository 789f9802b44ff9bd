// 16-bit floating-point storage types and the type in which each storage type is summed.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/simd/host_device.h"

namespace vkdnw {

struct BFloat16 {
  uint16_t bits;
};

struct Float16 {
  uint16_t bits;
};

template <typename Storage>
struct AccumulatorOf {
  using type = float;
};

template <>
struct AccumulatorOf<double> {
  using type = double;
};

template <typename Storage>
using Accumulator = typename AccumulatorOf<Storage>::type;

VKDNW_HD inline double widen(double value) { return value; }

VKDNW_HD inline float widen(float value) { return value; }

VKDNW_HD inline float widen(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

// IEEE 754 binary16 without a branch on the class of the number: the exponent is rebiased by a
// multiplication, which also normalises the subnormals; infinities and NaN are put right after.
VKDNW_HD inline float widen(Float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(value.bits & 0x7fffu) << 13;
  constexpr uint32_t kRebias = (254u - 15u) << 23;         // 2^112
  constexpr uint32_t kFirstNonFinite = (31u << 10) << 13;  // 0x7c00, shifted as the magnitude is
  uint32_t result =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * std::bit_cast<float>(kRebias));
  result |= magnitude >= kFirstNonFinite ? 0x7f800000u : 0u;
  return std::bit_cast<float>(result | sign);
}

}  // namespace vkdnw
