#include "ops/convolution.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"
#include "ops/check.h"
#include "ops/conv3x3_input_gradient.h"
#include "ops/conv_input_gradient.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

void require_images(const Tensor& x) {
  require_channels_last("x", x, "[N, Ci, H, W]", "torch.nn.functional.conv2d");
  require(x.size(0) > 0 && x.size(2) > 0 && x.size(3) > 0, "x has ", x.size(0), " images of ",
          x.size(2), " x ", x.size(3), " pixels; there must be at least one of each");
}

}  // namespace

winograd::InputGradient checked_conv3x3(const Tensor& x, const Tensor& transformed, bool rectify) {
  require_images(x);
  require_winograd_weights(transformed);
  require(x.size(1) == transformed.size(2), "x has ", x.size(1),
          " channels and transformed is for ", transformed.size(2),
          "; pass winograd_forward_weights of the layer that reads x");
  winograd::InputGradient problem = checked_input_gradient(x, transformed, std::nullopt);
  problem.sources[0].rectify = rectify;
  return problem;
}

conv1x1::Convolution checked_conv1x1(const Tensor& x, const Tensor& weight, bool rectify) {
  require_images(x);
  require_conv_weight(weight, 1, "[Co, Ci, 1, 1]");
  require(x.size(1) == weight.size(1), "x has ", x.size(1), " channels and weight ", weight.size(1),
          " input channels; pass the weight of the layer that reads x");
  return {.samples = x.size(0),
          .pixels = x.size(2) * x.size(3),
          .input_channels = x.size(1),
          .channels = weight.size(0),
          .x = static_cast<const float*>(x.const_data_ptr()),
          .weights = nullptr,
          .rectify = rectify,
          .result = nullptr};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def("conv3x3(Tensor x, Tensor transformed, bool rectify) -> (Tensor, Tensor)");
  m.def("conv1x1(Tensor x, Tensor weight, bool rectify) -> (Tensor, Tensor)");
}

}  // namespace vkdnw
