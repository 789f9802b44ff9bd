// The problem of vkdnw::jacobian_columns_ as its kernels take it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/simd/half_types.h"

namespace vkdnw {

using Extent3 = std::array<int64_t, 3>;

// A layer's inputs [b, C, X1, X2, X3], or its output gradients [K, b, C, G1, G2, G3].
template <typename Storage>
struct LayerTensor {
  const Storage* data;
  Extent3 extent;
  int64_t cotangent_stride;  // 0 for inputs
  int64_t sample_stride;
  int64_t channel_stride;
  Extent3 stride;

  const Storage* plane(int64_t cotangent, int64_t sample, int64_t channel) const {
    return data + cotangent * cotangent_stride + sample * sample_stride + channel * channel_stride;
  }
  int64_t plane_size() const { return extent[0] * extent[1] * extent[2]; }
};

// One term of one column:  scale * sum_o grad[o] * (input[start + step * o] - shift).
struct Pick {
  static constexpr int64_t kOnes = -1;  // input_channel of a factor that is one everywhere

  int64_t column;
  int64_t layer;
  int64_t grad_channel;
  int64_t input_channel;
  Extent3 start;
  Extent3 step;
  double shift;
  double scale;
};

template <typename Storage>
struct JacobianColumnsProblem {
  int64_t samples;
  int64_t cotangents;
  std::vector<LayerTensor<Storage>> inputs;  // one per layer
  std::vector<LayerTensor<Storage>> grads;   // one per layer
  std::vector<Pick> picks;
  Accumulator<Storage>* jacobian;  // [samples, cotangents, columns], columns contiguous
  int64_t jacobian_sample_stride;
  int64_t jacobian_cotangent_stride;
};

}  // namespace vkdnw
