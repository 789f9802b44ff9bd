// The memory of the data gradient of some images: it is written, or added to, and masked by
// the ReLU in front of the layer.
#pragma once

#include <cstdint>

#include "kernels/layers/relu_mask.h"
#include "kernels/simd/simd.h"

namespace vkdnw {

struct GradientTarget {
  float* data;  // [samples, pixels, channels]
  bool add;     // instead of writing
  const uint8_t*
      mask;  // [mask_samples, pixels, channels / 8], see kernels/layers/relu_mask.h, or null
  int64_t mask_samples;
  int64_t mask_first;  // sample n has the mask of sample (mask_first + n) % mask_samples

  // The mask of a sample of `floats` elements, or null.
  const uint8_t* mask_of(int64_t sample, int64_t floats) const {
    return mask == nullptr ? nullptr : mask + (mask_first + sample) % mask_samples * (floats / 8);
  }

  // Samples from this one on whose masks lie one behind the other; all there are without a mask.
  int64_t samples_to_wrap(int64_t sample, int64_t samples) const {
    return mask == nullptr ? samples - sample : mask_samples - (mask_first + sample) % mask_samples;
  }
};

// One vector of a gradient, into `target[offset]`; the mask is that of target[0], or null.
inline void store_gradient(float* target, int64_t offset, relu::Floats gradient,
                           const uint8_t* mask, bool add) {
  if (mask != nullptr) {
    gradient = relu::masked(gradient, mask, offset);
  }
  if (add) {
    gradient += load_simd<kNativeBytes>(target + offset);
  }
  store_simd<kNativeBytes>(target + offset, gradient);
}

}  // namespace vkdnw
