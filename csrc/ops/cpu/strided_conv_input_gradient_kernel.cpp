#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>

#include "ops/strided_conv_input_gradient.h"

namespace vkdnw {
namespace {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

Tensor strided_conv_input_gradient(const Tensor& grad, const Tensor& weight,
                                   const std::optional<Tensor>& mask, int64_t height, int64_t width,
                                   int64_t stride, int64_t padding) {
  strided_conv::InputGradient problem =
      checked_strided_gradient({grad, weight, mask, height, width, stride, padding});
  const std::array<int64_t, 4> shape{problem.samples, problem.channels, height, width};
  Tensor result = torch::stable::empty(shape, ScalarType::Float, std::nullopt, grad.device(),
                                       std::nullopt, MemoryFormat::ChannelsLast);
  problem.target.data = static_cast<float*>(result.mutable_data_ptr());
  torch::stable::parallel_for(0, problem.samples, 1, [&](int64_t first, int64_t last) {
    strided_conv::InputGradientWorker(problem).run(first, last);
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("strided_conv_input_gradient", TORCH_BOX(&strided_conv_input_gradient));
}

}  // namespace vkdnw
