#include "ops/avg_pool3x3_input_gradient.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"
#include "ops/check.h"

namespace vkdnw {

avg_pool::InputGradient checked_pool_gradient(const torch::stable::Tensor& grad) {
  require_channels_last("grad", grad, "[N, C, H, W]", "torch.ops.aten.avg_pool2d_backward");
  return {.samples = grad.size(0),
          .height = grad.size(2),
          .width = grad.size(3),
          .channels = grad.size(1),
          .grad = static_cast<const float*>(grad.const_data_ptr()),
          .result = nullptr,
          .add = false};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def("avg_pool3x3_input_gradient(Tensor grad) -> Tensor");
}

}  // namespace vkdnw
