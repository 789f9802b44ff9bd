// Gradients times a number, written or added, and masked by a ReLU: what sums of feature maps,
// products with a number and a ReLU alone send back.
#pragma once

#include <cstdint>

#include "kernels/layers/gradient_target.h"
#include "kernels/simd/simd.h"

namespace vkdnw {

// With a mask, `numbers` is a multiple of relu::kGroup.
struct ScaledCopy {
  int64_t samples;
  int64_t numbers;  // of a sample
  float factor;
  const float* source;  // [samples, numbers]
  GradientTarget target;
};

inline void scaled_copy(const ScaledCopy& problem) {
  const GradientTarget& target = problem.target;
  if (target.mask == nullptr) {
    for (int64_t i = 0; i < problem.samples * problem.numbers; ++i) {
      const float before = target.add ? target.data[i] : 0;
      target.data[i] = before + problem.factor * problem.source[i];
    }
    return;
  }
  for (int64_t sample = 0; sample < problem.samples; ++sample) {
    const uint8_t* mask = target.mask_of(sample, problem.numbers);
    const float* source = problem.source + sample * problem.numbers;
    float* result = target.data + sample * problem.numbers;
    for (int64_t i = 0; i < problem.numbers; i += relu::kFloats) {
      store_gradient(result, i, problem.factor * load_simd<kNativeBytes>(source + i), mask,
                     target.add);
    }
  }
}

}  // namespace vkdnw
