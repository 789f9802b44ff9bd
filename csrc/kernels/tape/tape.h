// A tape: the data gradients of the layers of a network, from values whose gradients are known back
// to those that are asked for.
//
// A value is a feature map; each sample has one. Values are numbered backwards through the network.
// The gradients of the first ones, the cotangents, are known. The gradient of any other value is a
// sum of terms. A term is the data gradient of a layer that reads the value, from the gradient of a
// value with a lower number:
//
//   gradient[destination] = sum of layer^T gradient[source]
//
// Everything is linear, NHWC and float32. Behind a layer there may be a BatchNorm by the batch's
// own statistics, which the gradient passes first; samples depend on each other only through its
// sums. A reading copies one channel of a gradient: the derivative with respect to one weight needs
// no more. A product sums the outer products of a gradient's pixels with those of a cotangent.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/conv/conv_axis.h"

namespace vkdnw::tape {

enum class Layer : int64_t {
  kIdentity = 0,       // a sum of feature maps, or a connection past a layer
  kConv3x3 = 1,        // kernels/conv/winograd3x3.h
  kConv1x1 = 2,        // kernels/conv/conv1x1.h
  kStridedConv = 3,    // kernels/conv/strided_conv.h
  kAvgPool3x3 = 4,     // kernels/layers/avg_pool3x3.h
  kMeanPool = 5,       // means over squares that do not overlap
  kScale = 6,          // a product with a scalar
  kDepthwiseConv = 7,  // kernels/conv/depthwise_conv.h
};

struct Value {
  int64_t channels;
  int64_t height;
  int64_t width;

  int64_t pixels() const { return height * width; }
  int64_t floats() const { return pixels() * channels; }
  bool operator==(const Value&) const = default;
};

// BatchNorm by the batch's own statistics, see kernels/layers/batch_norm.h.
struct Norm {
  const float* x;            // its input: [samples, pixels, channels]
  const double* statistics;  // [2, channels]: mean and inverse deviation
  const float* weight;       // [channels], or null for ones
};

inline constexpr int64_t kNone = -1;

struct Term {
  Layer layer;
  int64_t source;
  int64_t destination;
  const float* weights;   // packed for the layer's kernel, or kScale's factor; or null
  const uint8_t* mask;    // of a ReLU in front: [mask_samples, pixels, channels / 8]; or null
  int64_t kernel_height;  // of kStridedConv and kDepthwiseConv
  int64_t kernel_width;
  int64_t stride;        // of these and kMeanPool
  int64_t padding;       // of kStridedConv and kDepthwiseConv
  int64_t norm = kNone;  // of Tape::norms, behind the layer

  bool is_normed() const { return norm != kNone; }
};

// The axes of a convolution with a stride: the gradient comes from its output.
inline std::array<conv_axis::Axis, 2> strided_axes(const Value& from, const Value& to,
                                                   const Term& term) {
  return {{{to.height, from.height, term.kernel_height, term.stride, term.padding},
           {to.width, from.width, term.kernel_width, term.stride, term.padding}}};
}

struct Reading {
  int64_t value;
  int64_t channel;
  float* planes;  // plane of sample n at planes + n * sample_stride
  int64_t sample_stride;
};

// See kernels/layers/map_products.h: the gradient is the wide map, the cotangent the narrow one.
struct Product {
  int64_t value;
  int64_t cotangent;
  double* sums;  // over all samples, and behind them whether the gradient is the cotangent
};

// The known gradient of one of the first values.
struct Cotangent {
  const float* data;     // [samples, height, width, channels]; null for packed signs:
  const uint8_t* signs;  // +1 where a bit is set, else -1; packed like kernels/layers/relu_mask.h
};

struct Tape {
  int64_t samples;
  int64_t mask_samples;  // sample n has the masks of sample n % mask_samples
  std::vector<Value> values;
  std::vector<Cotangent> cotangents;
  std::vector<Norm> norms;
  std::vector<Term> terms;        // by ascending destination, and source < destination
  std::vector<Reading> readings;  // by ascending value, not of signs
  std::vector<Product> products;
};

}  // namespace vkdnw::tape
