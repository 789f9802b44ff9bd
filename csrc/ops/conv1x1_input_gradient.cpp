#include "ops/conv1x1_input_gradient.h"

#include <torch/csrc/stable/library.h>

#include "ops/check.h"
#include "ops/conv_input_gradient.h"

namespace vkdnw {

using torch::stable::Tensor;

conv1x1::InputGradient checked_conv1x1_gradient(const Tensor& grad, const Tensor& weight,
                                                const std::optional<Tensor>& mask) {
  require_output_gradient(grad);
  require_conv_weight(weight, 1, "[Co, Ci, 1, 1]");
  require(grad.size(1) == weight.size(0), "grad has ", grad.size(1), " channels and weight ",
          weight.size(0),
          " output channels; pass the weight of the layer whose output this is "
          "the gradient of");
  const int64_t channels = weight.size(1);
  if (mask.has_value()) {
    require_relu_mask(*mask, {grad.size(0), channels, grad.size(2), grad.size(3)});
  }
  return {.samples = grad.size(0),
          .pixels = grad.size(2) * grad.size(3),
          .channels = channels,
          .sources = {{.channels = grad.size(1),
                       .grad = static_cast<const float*>(grad.const_data_ptr()),
                       .weights = nullptr}},
          .target = mask_target(mask)};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def("conv1x1_input_gradient(Tensor grad, Tensor weight, Tensor? mask) -> Tensor");
}

}  // namespace vkdnw
