#include "ops/conv_weights.h"

#include <torch/csrc/stable/library.h>

#include "kernels/conv/winograd3x3.h"
#include "ops/channels_last.h"
#include "ops/check.h"

namespace vkdnw {

using torch::stable::Tensor;

void require_conv_weight(const Tensor& weight, int64_t kernel_size, const char* otherwise) {
  require_float_on_cpu("weight", weight, 4, kernel_size == 1 ? "[Co, Ci, 1, 1]" : "[Co, Ci, 3, 3]",
                       otherwise);
  require(weight.size(2) == kernel_size && weight.size(3) == kernel_size, "weight has kernel size ",
          weight.size(2), " x ", weight.size(3), ", not ", kernel_size, " x ", kernel_size,
          "; for others, use ", otherwise);
  require(weight.size(0) % kChannelMultiple == 0 && weight.size(1) % kChannelMultiple == 0 &&
              weight.numel() > 0,
          "weight has ", weight.size(0), " output and ", weight.size(1),
          " input channels; both must be multiples of ", kChannelMultiple, "; for others, use ",
          otherwise);
}

void require_winograd_weights(const char* name, const Tensor& weight) {
  require_float_on_cpu(name, weight, 3, "[36, channels, channels]", "winograd_weights");
  require(weight.size(0) == winograd::kPositions && weight.size(1) % kChannelMultiple == 0 &&
              weight.size(2) % kChannelMultiple == 0 && weight.is_contiguous(),
          name, " is not what winograd_weights returns; pass its result unchanged");
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def("winograd_weights(Tensor weight) -> Tensor");
  m.def("winograd_forward_weights(Tensor weight) -> Tensor");
}

}  // namespace vkdnw
