// Arguments of vkdnw::conv_input_gradient, checked and as the structures of the kernels.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>
#include <variant>

#include "kernels/conv/conv1x1.h"
#include "kernels/conv/strided_conv.h"
#include "kernels/conv/winograd3x3.h"
#include "kernels/tape/tape.h"
#include "ops/results.h"

namespace vkdnw {

// The convolutions of a tape that are ops of their own as well; one group, no dilation. The kernel
// of each takes the weight in its own form:
//   kConv3x3      3 x 3, stride 1, padding 1         winograd_weights of the weight
//   kConv1x1      1 x 1, stride 1, padding 0         [Co, Ci, 1, 1] contiguous
//   kStridedConv  any kernel size, stride, padding   [Kh, Kw, Co, Ci] contiguous
using tape::Layer;

struct ConvGradientArguments {
  Layer layer;
  const torch::stable::Tensor& grad;                 // [N, Co, Ho, Wo]
  const torch::stable::Tensor& weight;               // in the form of the layer
  const std::optional<torch::stable::Tensor>& mask;  // [M, H, W, Ci / 8]
  int64_t height;                                    // of the input
  int64_t width;
  int64_t stride;
  int64_t padding;
};

// A checked call: the sizes of the result, and the kernel's problem without the result's memory.
struct ConvGradient {
  ImageSizes result;
  std::variant<winograd::InputGradient, conv1x1::InputGradient, strided_conv::InputGradient>
      problem;
};

// Throws std::invalid_argument, naming the argument, for sizes, dtypes, devices or layouts that do
// not fit one another. The kernels read and write memory without further checks.
ConvGradient checked_conv_gradient(const ConvGradientArguments& arguments);

}  // namespace vkdnw
