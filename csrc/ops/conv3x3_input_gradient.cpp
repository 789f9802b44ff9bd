#include "ops/conv3x3_input_gradient.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"
#include "ops/check.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

constexpr const char* kOtherwise = "torch.nn.grad.conv2d_input";

void require_transformed(const Tensor& transformed) {
  require_float_on_cpu("transformed", transformed, 3, "[36, Ci, Co]", kOtherwise);
  require(transformed.size(0) == winograd::kPositions &&
              transformed.size(1) % kChannelMultiple == 0 &&
              transformed.size(2) % kChannelMultiple == 0 && transformed.is_contiguous(),
          "transformed is not what winograd_weights returns; pass its result unchanged");
}

void require_mask(const Tensor& mask, const Tensor& grad, int64_t channels) {
  require_channels_last("mask", mask, "[M, Ci, H, W]", kOtherwise);
  require(mask.size(1) == channels && mask.size(2) == grad.size(2) && mask.size(3) == grad.size(3),
          "mask has shape [", mask.size(0), ", ", mask.size(1), ", ", mask.size(2), ", ",
          mask.size(3), "] and the result [", grad.size(0), ", ", channels, ", ", grad.size(2),
          ", ", grad.size(3), "]; all but the first must agree");
  require(mask.size(0) > 0 && grad.size(0) % mask.size(0) == 0, "mask has ", mask.size(0),
          " samples and grad ", grad.size(0), "; the latter must be a multiple of the former");
}

}  // namespace

void check_winograd_weights(const Tensor& weight) {
  require_float_on_cpu("weight", weight, 4, "[Co, Ci, 3, 3]", kOtherwise);
  require(weight.size(2) == 3 && weight.size(3) == 3, "weight has kernel size ", weight.size(2),
          " x ", weight.size(3), ", not 3 x 3; for others, use ", kOtherwise);
  require(weight.size(0) % kChannelMultiple == 0 && weight.size(1) % kChannelMultiple == 0 &&
              weight.numel() > 0,
          "weight has ", weight.size(0), " output and ", weight.size(1),
          " input channels; both must be multiples of ", kChannelMultiple, "; for others, use ",
          kOtherwise);
}

winograd::InputGradient checked_input_gradient(const Tensor& grad, const Tensor& transformed,
                                               const std::optional<Tensor>& mask) {
  require_channels_last("grad", grad, "[N, Co, H, W]", kOtherwise);
  require_transformed(transformed);
  require(grad.size(1) == transformed.size(2), "grad has ", grad.size(1),
          " channels and transformed is for ", transformed.size(2),
          "; transform the weights of the layer whose output this is the gradient of");
  require(grad.size(2) > 0 && grad.size(3) > 0, "grad has images of ", grad.size(2), " x ",
          grad.size(3), " pixels; there must be at least one");
  const int64_t channels = transformed.size(1);
  if (mask.has_value()) {
    require_mask(*mask, grad, channels);
  }
  return {.samples = grad.size(0),
          .height = grad.size(2),
          .width = grad.size(3),
          .grad_channels = grad.size(1),
          .channels = channels,
          .grad = static_cast<const float*>(grad.const_data_ptr()),
          .weights = static_cast<const float*>(transformed.const_data_ptr()),
          .mask = mask ? static_cast<const float*>(mask->const_data_ptr()) : nullptr,
          .mask_samples = mask ? mask->size(0) : 0,
          .result = nullptr};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def("winograd_weights(Tensor weight) -> Tensor");
  m.def("conv3x3_input_gradient(Tensor grad, Tensor transformed, Tensor? mask) -> Tensor");
}

}  // namespace vkdnw
