#include "ops/channel_covariance.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"
#include "ops/check.h"

namespace vkdnw {

channel_covariance::Rows checked_rows(const torch::stable::Tensor& rows) {
  require_float_on_cpu("rows", rows, 2, "[n, C]", "torch.cov");
  require(rows.is_contiguous(), "rows is not contiguous; call rows.contiguous()");
  require(rows.numel() > 0, "rows has shape [", rows.size(0), ", ", rows.size(1),
          "]; a covariance takes a row and a column");
  return {.count = rows.size(0),
          .channels = rows.size(1),
          .data = static_cast<const float*>(rows.const_data_ptr())};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) { m.def("channel_covariance(Tensor rows) -> Tensor"); }

}  // namespace vkdnw
