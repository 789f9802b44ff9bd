#include "ops/convolution.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"
#include "ops/check.h"
#include "ops/conv_weights.h"
#include "ops/results.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

constexpr const char* kOtherwise = "torch.nn.functional.conv2d";

void require_images(const Tensor& x) {
  require_channels_last("x", x, "[N, Ci, H, W]", kOtherwise);
  require(x.size(0) > 0 && x.size(2) > 0 && x.size(3) > 0, "x has ", x.size(0), " images of ",
          x.size(2), " x ", x.size(3), " pixels; there must be at least one of each");
}

}  // namespace

winograd::InputGradient checked_conv3x3(const Tensor& x, const Tensor& transformed, bool rectify) {
  require_images(x);
  require_winograd_weights("transformed", transformed);
  require(x.size(1) == transformed.size(2), "x has ", x.size(1),
          " channels and transformed is for ", transformed.size(2),
          "; pass winograd_forward_weights of the layer that reads x");
  return {.samples = x.size(0),
          .height = x.size(2),
          .width = x.size(3),
          .channels = transformed.size(1),
          .sources = {{.channels = x.size(1),
                       .grad = floats_of(x),
                       .weights = floats_of(transformed),
                       .patches = nullptr,
                       .transformed = false,
                       .rectify = rectify}},
          .target = {
              .data = nullptr, .add = false, .mask = nullptr, .mask_samples = 0, .mask_first = 0}};
}

conv1x1::Convolution checked_conv1x1(const Tensor& x, const Tensor& weight, bool rectify) {
  require_images(x);
  require_conv_weight(weight, 1, kOtherwise);
  require(x.size(1) == weight.size(1), "x has ", x.size(1), " channels and weight ", weight.size(1),
          " input channels; pass the weight of the layer that reads x");
  return {.samples = x.size(0),
          .pixels = x.size(2) * x.size(3),
          .input_channels = x.size(1),
          .channels = weight.size(0),
          .x = floats_of(x),
          .weights = nullptr,
          .rectify = rectify,
          .result = nullptr};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def("conv3x3(Tensor x, Tensor transformed, bool rectify) -> (Tensor, Tensor)");
  m.def("conv1x1(Tensor x, Tensor weight, bool rectify) -> (Tensor, Tensor)");
}

}  // namespace vkdnw
