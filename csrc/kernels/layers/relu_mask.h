// ReLU with a bit mask: one bit for each number, set where the backward of the ReLU lets the
// gradient pass. It is read in every backward pass, and is 32 times smaller than the ReLU's output.
//
// Number i has bit i % 8 of byte i / 8. As torch's threshold_backward has it, the bit is clear
// where the output is <= 0, so that a NaN lets pass.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/simd/aligned_buffer.h"
#include "kernels/simd/simd.h"

namespace vkdnw::relu {

using Floats = Simd<float, kNativeBytes>;
inline constexpr int64_t kFloats = kNativeBytes / 4;

// Numbers that are rectified together: the widest vector's, and whole bytes of the mask.
inline constexpr int64_t kGroup = 16;

// The ReLU as torch has it: -0.0 and NaN are kept.
inline Floats rectified(Floats numbers) { return numbers < 0 ? Floats{} : numbers; }

// passing_bits: bit i is set where the gradient of number i of a group passes.
//
// masked: the gradient of the numbers from `first` on, a multiple of kFloats; zero where the bit is
// clear.
#if defined(__AVX512F__)

// Sixteen bits are a mask register here. GCC 12 finds no way there from a vector's elements.
inline uint32_t passing_bits(const float* group) {
  return _mm512_cmp_ps_mask(load_simd<kNativeBytes>(group), Floats{}, _CMP_NLE_UQ);
}

inline Floats masked(Floats gradient, const uint8_t* mask, int64_t first) {
  mask += first / 8;
  return _mm512_maskz_mov_ps(static_cast<__mmask16>(mask[0] | mask[1] << 8), gradient);
}

#else

inline uint32_t passing_bits(const float* group) {
  uint32_t bits = 0;
#pragma omp simd reduction(| : bits)
  for (int64_t i = 0; i < kGroup; ++i) {
    bits |= group[i] <= 0 ? 0u : 1u << i;
  }
  return bits;
}

inline Floats masked(Floats gradient, const uint8_t* mask, int64_t first) {
  Simd<int32_t, kNativeBytes> lane_bits;
  for (int64_t lane = 0; lane < kFloats; ++lane) {
    lane_bits[lane] = 1 << lane;
  }
  const int32_t bits = mask[first / 8] >> (first % 8);
  return (bits & lane_bits) == 0 ? Floats{} : gradient;
}

#endif

// One ReLU of `groups` times kGroup numbers.
struct Rectification {
  int64_t groups;
  const float* x;
  float* relu;    // as many as x; -0.0 and NaN are kept
  uint8_t* mask;  // two bytes a group
};

// Groups [first, last).
inline void rectify(const Rectification& problem, int64_t first, int64_t last) {
  for (int64_t group = first; group < last; ++group) {
    const float* x = problem.x + group * kGroup;
    float* relu = problem.relu + group * kGroup;
    uint8_t* mask = problem.mask + group * (kGroup / 8);
    const uint32_t bits = passing_bits(x);
    for (int64_t i = 0; i < kGroup; i += kFloats) {
      store_simd<kNativeBytes>(relu + i, rectified(load_simd<kNativeBytes>(x + i)));
    }
    mask[0] = static_cast<uint8_t>(bits);
    mask[1] = static_cast<uint8_t>(bits >> 8);
  }
}

// The mask alone, from a ReLU's output; channels are filled up to whole groups, with bits that
// are clear.
struct Masking {
  int64_t pixels;
  int64_t channels;
  const float* relu;  // [pixels, channels]
  uint8_t* mask;      // [pixels, mask_bytes(channels)]
};

inline int64_t mask_bytes(int64_t channels) { return round_up(channels, kGroup) / 8; }

// Pixels [first, last).
inline void mask_pixels(const Masking& problem, int64_t first, int64_t last) {
  const float* relu = problem.relu + first * problem.channels;
  uint8_t* mask = problem.mask + first * mask_bytes(problem.channels);
  for (int64_t pixel = first; pixel < last; ++pixel, relu += problem.channels) {
    for (int64_t channel = 0; channel < problem.channels; channel += kGroup, mask += 2) {
      float rest[kGroup] = {};
      const float* group = relu + channel;
      if (problem.channels - channel < kGroup) {
        std::copy(group, relu + problem.channels, rest);
        group = rest;
      }
      const uint32_t bits = passing_bits(group);
      mask[0] = static_cast<uint8_t>(bits);
      mask[1] = static_cast<uint8_t>(bits >> 8);
    }
  }
}

}  // namespace vkdnw::relu
