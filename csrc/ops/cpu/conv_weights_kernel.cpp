#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>

#include "kernels/conv/winograd3x3.h"
#include "ops/conv_weights.h"
#include "ops/results.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

// By the transform of one direction; `channels` and `depth` are dimensions of the weight.
template <typename Transform>
Tensor transformed(const Tensor& weight, const Transform& transform, int channels, int depth) {
  require_conv_weight(weight, 3, "torch.nn.grad.conv2d_input");
  const Tensor plain = torch::stable::contiguous(weight);
  const std::array<int64_t, 3> shape{winograd::kPositions, plain.size(channels), plain.size(depth)};
  Tensor result = torch::stable::new_empty(plain, shape);
  transform(floats_of(plain), plain.size(0), plain.size(1), writable_floats(result));
  return result;
}

Tensor winograd_weights(const Tensor& weight) {
  return transformed(weight, winograd::transform_gradient_weights, 1, 0);
}

Tensor winograd_forward_weights(const Tensor& weight) {
  return transformed(weight, winograd::transform_forward_weights, 0, 1);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("winograd_weights", TORCH_BOX(&winograd_weights));
  m.impl("winograd_forward_weights", TORCH_BOX(&winograd_forward_weights));
}

}  // namespace vkdnw
