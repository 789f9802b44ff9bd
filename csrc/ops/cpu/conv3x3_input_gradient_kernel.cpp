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

// By the transform of one direction; `channels` and `depth` are dimensions of the weight.
template <typename Transform>
Tensor transformed_weights(const Tensor& weight, const Transform& transform, int channels,
                           int depth) {
  check_winograd_weights(weight);
  const Tensor plain = torch::stable::contiguous(weight);
  const std::array<int64_t, 3> shape{winograd::kPositions, plain.size(channels), plain.size(depth)};
  Tensor transformed = torch::stable::new_empty(plain, shape);
  transform(static_cast<const float*>(plain.const_data_ptr()), plain.size(0), plain.size(1),
            static_cast<float*>(transformed.mutable_data_ptr()));
  return transformed;
}

Tensor winograd_weights(const Tensor& weight) {
  return transformed_weights(weight, winograd::transform_gradient_weights, 1, 0);
}

Tensor winograd_forward_weights(const Tensor& weight) {
  return transformed_weights(weight, winograd::transform_forward_weights, 0, 1);
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
  m.impl("winograd_forward_weights", TORCH_BOX(&winograd_forward_weights));
  m.impl("conv3x3_input_gradient", TORCH_BOX(&conv3x3_input_gradient));
}

}  // namespace vkdnw
