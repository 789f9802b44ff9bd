#include "ops/avg_pool3x3_input_gradient.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"
#include "ops/check.h"

namespace vkdnw {

avg_pool::InputGradient checked_pooling(const char* name, const torch::stable::Tensor& images,
                                        const char* otherwise) {
  require_channels_last(name, images, "[N, C, H, W]", otherwise);
  return {.samples = images.size(0),
          .height = images.size(2),
          .width = images.size(3),
          .channels = images.size(1),
          .grad = static_cast<const float*>(images.const_data_ptr()),
          .result = nullptr,
          .add = false};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def("avg_pool3x3_input_gradient(Tensor grad) -> Tensor");
  m.def("avg_pool3x3(Tensor x) -> Tensor");
}

}  // namespace vkdnw
