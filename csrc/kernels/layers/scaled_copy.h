// Gradients times a factor, written or added, and masked by a ReLU: the input gradients of sums, of
// products with a scalar, and of a ReLU alone.
#pragma once

#include <cstdint>

#include "kernels/layers/gradient_target.h"
#include "kernels/simd/simd.h"

namespace vkdnw {

// With a mask, `floats` is a multiple of relu::kGroup.
struct ScaledCopy {
  int64_t samples;
  int64_t floats;  // per sample
  float factor;
  const float* source;  // [samples, floats]
  GradientTarget target;
};

inline void scaled_copy(const ScaledCopy& problem) {
  const GradientTarget& target = problem.target;
  if (target.mask == nullptr) {
    for (int64_t i = 0; i < problem.samples * problem.floats; ++i) {
      const float before = target.add ? target.data[i] : 0;
      target.data[i] = before + problem.factor * problem.source[i];
    }
    return;
  }
  for (int64_t sample = 0; sample < problem.samples; ++sample) {
    const uint8_t* mask = target.mask_of(sample, problem.floats);
    const float* source = problem.source + sample * problem.floats;
    float* result = target.data + sample * problem.floats;
    for (int64_t i = 0; i < problem.floats; i += relu::kFloats) {
      store_gradient(result, i, problem.factor * load_simd<kNativeBytes>(source + i), mask,
                     target.add);
    }
  }
}

}  // namespace vkdnw
