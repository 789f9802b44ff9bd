#include "ops/relu_mask.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"

namespace vkdnw {

relu::Masking checked_masking(const torch::stable::Tensor& relu) {
  require_float_nhwc("relu", relu, "[M, C, H, W]", "relu > 0");
  return {.pixels = relu.size(0) * relu.size(2) * relu.size(3),
          .channels = relu.size(1),
          .relu = static_cast<const float*>(relu.const_data_ptr()),
          .mask = nullptr};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) { m.def("relu_mask(Tensor relu) -> Tensor"); }

}  // namespace vkdnw
