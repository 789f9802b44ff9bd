#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>

#include "ops/conv3x3_input_gradient.h"

namespace vkdnw {
namespace {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Multiply-adds below which handing work to another thread costs more than it saves.
constexpr int64_t kWorkPerThread = 1024 * 1024;

Tensor winograd_weights(const Tensor& weight) {
  check_winograd_weights(weight);
  const Tensor plain = torch::stable::contiguous(weight);
  const int64_t grad_channels = plain.size(0);
  const int64_t channels = plain.size(1);
  const std::array<int64_t, 3> shape{winograd::kPositions, channels, grad_channels};
  Tensor transformed = torch::stable::new_empty(plain, shape);
  winograd::transform_gradient_weights(static_cast<const float*>(plain.const_data_ptr()),
                                       grad_channels, channels,
                                       static_cast<float*>(transformed.mutable_data_ptr()));
  return transformed;
}

Tensor conv3x3_input_gradient(const Tensor& grad, const Tensor& transformed,
                              const std::optional<Tensor>& mask) {
  winograd::InputGradient problem = checked_input_gradient(grad, transformed, mask);
  const std::array<int64_t, 4> shape{problem.samples, problem.channels, problem.height,
                                     problem.width};
  Tensor result = torch::stable::empty(shape, ScalarType::Float, std::nullopt, grad.device(),
                                       std::nullopt, MemoryFormat::ChannelsLast);
  problem.target.data = static_cast<float*>(result.mutable_data_ptr());
  const int64_t work_per_tile = winograd::kPositions * problem.depth() * problem.channels;
  torch::stable::parallel_for(0, problem.tiles(), kWorkPerThread / work_per_tile + 1,
                              [&](int64_t first, int64_t last) {
                                winograd::InputGradientWorker(problem).run(first, last);
                              });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("winograd_weights", TORCH_BOX(&winograd_weights));
  m.impl("conv3x3_input_gradient", TORCH_BOX(&conv3x3_input_gradient));
}

}  // namespace vkdnw
