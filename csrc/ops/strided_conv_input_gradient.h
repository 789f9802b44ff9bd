// Arguments of vkdnw::strided_conv_input_gradient, checked and in the kernel's terms.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <optional>

#include "kernels/conv/strided_conv.h"

namespace vkdnw {

struct StridedConvArguments {
  const torch::stable::Tensor& grad;                 // [N, Co, Ho, Wo]
  const torch::stable::Tensor& weight;               // [Kh, Kw, Co, Ci]
  const std::optional<torch::stable::Tensor>& mask;  // [M, H, W, Ci / 8]
  int64_t height;                                    // of the input
  int64_t width;
  int64_t stride;
  int64_t padding;
};

// Throws std::invalid_argument, naming the argument, for sizes, dtypes, devices or layouts that do
// not fit one another. The result's memory is still to be given.
strided_conv::InputGradient checked_strided_gradient(const StridedConvArguments& arguments);

}  // namespace vkdnw
