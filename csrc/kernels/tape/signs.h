// Unpacks bits to floats of +1 and -1.
#pragma once

#include <cstdint>

#include "kernels/layers/relu_mask.h"

namespace vkdnw {

// +1 where bit i % 8 of byte i / 8 is set, else -1; `count` is a multiple of relu::kGroup.
inline void write_signs(const uint8_t* bits, int64_t count, float* signs) {
  const relu::Floats one = relu::Floats{} + 1;
  for (int64_t i = 0; i < count; i += relu::kFloats) {
    store_simd<kNativeBytes>(signs + i, relu::masked(one + one, bits, i) - one);
  }
}

}  // namespace vkdnw
