#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>

#include "ops/conv1x1_input_gradient.h"

namespace vkdnw {
namespace {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Multiply-adds below which handing work to another thread costs more than it saves.
constexpr int64_t kWorkPerThread = 1024 * 1024;

Tensor conv1x1_input_gradient(const Tensor& grad, const Tensor& weight,
                              const std::optional<Tensor>& mask) {
  conv1x1::InputGradient problem = checked_conv1x1_gradient(grad, weight, mask);
  const Tensor plain = torch::stable::contiguous(weight);
  problem.sources[0].weights = static_cast<const float*>(plain.const_data_ptr());
  const std::array<int64_t, 4> shape{grad.size(0), problem.channels, grad.size(2), grad.size(3)};
  Tensor result = torch::stable::empty(shape, ScalarType::Float, std::nullopt, grad.device(),
                                       std::nullopt, MemoryFormat::ChannelsLast);
  problem.target.data = static_cast<float*>(result.mutable_data_ptr());
  const int64_t grain = kWorkPerThread / (grad.size(1) * problem.channels) + 1;
  torch::stable::parallel_for(
      0, problem.samples * problem.pixels, grain,
      [&](int64_t first, int64_t last) { conv1x1::input_gradient(problem, first, last); });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("conv1x1_input_gradient", TORCH_BOX(&conv1x1_input_gradient));
}

}  // namespace vkdnw
