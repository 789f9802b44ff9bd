#include "ops/conv3x3_input_gradient.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"
#include "ops/check.h"
#include "ops/conv_input_gradient.h"

namespace vkdnw {

using torch::stable::Tensor;

void require_winograd_weights(const Tensor& transformed) {
  require_float_on_cpu("transformed", transformed, 3, "[36, Ci, Co]", kConvGradientOtherwise);
  require(transformed.size(0) == winograd::kPositions &&
              transformed.size(1) % kChannelMultiple == 0 &&
              transformed.size(2) % kChannelMultiple == 0 && transformed.is_contiguous(),
          "transformed is not what winograd_weights returns; pass its result unchanged");
}

void check_winograd_weights(const Tensor& weight) {
  require_conv_weight(weight, 3, "[Co, Ci, 3, 3]");
}

winograd::InputGradient checked_input_gradient(const Tensor& grad, const Tensor& transformed,
                                               const std::optional<Tensor>& mask) {
  require_output_gradient(grad);
  require_winograd_weights(transformed);
  require(grad.size(1) == transformed.size(2), "grad has ", grad.size(1),
          " channels and transformed is for ", transformed.size(2),
          "; transform the weights of the layer whose output this is the gradient of");
  const int64_t channels = transformed.size(1);
  if (mask.has_value()) {
    require_relu_mask(*mask, {grad.size(0), channels, grad.size(2), grad.size(3)});
  }
  return {.samples = grad.size(0),
          .height = grad.size(2),
          .width = grad.size(3),
          .channels = channels,
          .sources = {{.channels = grad.size(1),
                       .grad = static_cast<const float*>(grad.const_data_ptr()),
                       .weights = static_cast<const float*>(transformed.const_data_ptr()),
                       .patches = nullptr,
                       .transformed = false}},
          .target = mask_target(mask)};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def("winograd_weights(Tensor weight) -> Tensor");
  m.def("winograd_forward_weights(Tensor weight) -> Tensor");
  m.def("conv3x3_input_gradient(Tensor grad, Tensor transformed, Tensor? mask) -> Tensor");
}

}  // namespace vkdnw
