#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>

#include "kernels/conv/norm_conv.h"
#include "ops/batch_norm.h"
#include "ops/conv1x1_input_gradient.h"
#include "ops/conv3x3_input_gradient.h"
#include "ops/strided_conv_input_gradient.h"

namespace vkdnw {
namespace {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

norm_conv::Norm checked_norm(const Tensor& grad, const Tensor& x, const Tensor& coefficients) {
  const batch_norm::Size size = checked_norm_pair("grad", grad, x);
  return {.size = size,
          .by = checked_coefficients(coefficients, size.channels),
          .grad = static_cast<const float*>(grad.const_data_ptr()),
          .x = static_cast<const float*>(x.const_data_ptr())};
}

template <typename InputGradient>
Tensor input_gradient(const norm_conv::Norm& norm, InputGradient conv, const Tensor& like,
                      int64_t height, int64_t width) {
  const std::array<int64_t, 4> shape{norm.size.samples, conv.channels, height, width};
  Tensor result = torch::stable::empty(shape, ScalarType::Float, std::nullopt, like.device(),
                                       std::nullopt, MemoryFormat::ChannelsLast);
  conv.target.data = static_cast<float*>(result.mutable_data_ptr());
  const int64_t piece = norm_conv::samples_per_piece(norm.size);
  torch::stable::parallel_for(
      0, (norm.size.samples + piece - 1) / piece, 1, [&](int64_t first, int64_t last) {
        norm_conv::input_gradient(norm, conv, conv.channels * height * width, first, last);
      });
  return result;
}

Tensor norm_conv3x3(const Tensor& grad, const Tensor& x, const Tensor& coefficients,
                    const Tensor& transformed, const std::optional<Tensor>& mask) {
  return input_gradient(checked_norm(grad, x, coefficients),
                        checked_input_gradient(grad, transformed, mask), grad, grad.size(2),
                        grad.size(3));
}

Tensor norm_conv1x1(const Tensor& grad, const Tensor& x, const Tensor& coefficients,
                    const Tensor& weight, const std::optional<Tensor>& mask) {
  conv1x1::InputGradient conv = checked_conv1x1_gradient(grad, weight, mask);
  const Tensor plain = torch::stable::contiguous(weight);
  conv.sources[0].weights = static_cast<const float*>(plain.const_data_ptr());
  return input_gradient(checked_norm(grad, x, coefficients), conv, grad, grad.size(2),
                        grad.size(3));
}

Tensor norm_strided_conv(const Tensor& grad, const Tensor& x, const Tensor& coefficients,
                         const Tensor& weight, const std::optional<Tensor>& mask, int64_t height,
                         int64_t width, int64_t stride, int64_t padding) {
  return input_gradient(
      checked_norm(grad, x, coefficients),
      checked_strided_gradient({grad, weight, mask, height, width, stride, padding}), grad, height,
      width);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("norm_conv3x3_input_gradient", TORCH_BOX(&norm_conv3x3));
  m.impl("norm_conv1x1_input_gradient", TORCH_BOX(&norm_conv1x1));
  m.impl("norm_strided_conv_input_gradient", TORCH_BOX(&norm_strided_conv));
}

}  // namespace vkdnw
