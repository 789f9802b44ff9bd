#include "ops/rectify.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"
#include "ops/check.h"

namespace vkdnw {

relu::Rectification checked_rectification(const torch::stable::Tensor& x) {
  require_channels_last("x", x, "[M, C, H, W]", "torch.relu");
  require(x.size(1) % relu::kGroup == 0, "x has ", x.size(1),
          " channels; they must be a multiple of ", relu::kGroup, "; for others, use torch.relu");
  return {.groups = x.numel() / relu::kGroup,
          .x = static_cast<const float*>(x.const_data_ptr()),
          .relu = nullptr,
          .mask = nullptr};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) { m.def("rectify(Tensor x) -> (Tensor, Tensor)"); }

}  // namespace vkdnw
