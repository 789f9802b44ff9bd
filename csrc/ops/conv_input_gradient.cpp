#include "ops/conv_input_gradient.h"

#include "ops/channels_last.h"
#include "ops/check.h"

namespace vkdnw {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

void require_conv_weight(const Tensor& weight, int64_t kernel_size, const char* shape) {
  require_float_on_cpu("weight", weight, 4, shape, kConvGradientOtherwise);
  require(weight.size(2) == kernel_size && weight.size(3) == kernel_size, "weight has kernel size ",
          weight.size(2), " x ", weight.size(3), ", not ", kernel_size, " x ", kernel_size,
          "; for others, use ", kConvGradientOtherwise);
  require(weight.size(0) % kChannelMultiple == 0 && weight.size(1) % kChannelMultiple == 0 &&
              weight.numel() > 0,
          "weight has ", weight.size(0), " output and ", weight.size(1),
          " input channels; both must be multiples of ", kChannelMultiple, "; for others, use ",
          kConvGradientOtherwise);
}

void require_output_gradient(const Tensor& grad) {
  require_channels_last("grad", grad, "[N, Co, H, W]", kConvGradientOtherwise);
  require(grad.size(2) > 0 && grad.size(3) > 0, "grad has images of ", grad.size(2), " x ",
          grad.size(3), " pixels; there must be at least one");
}

void require_relu_mask(const Tensor& mask, const Images& result) {
  require(mask.dim() == 4, "mask has ", mask.dim(), " dimensions, not 4: [M, H, W, Ci / 8]");
  require(mask.scalar_type() == ScalarType::Byte, "mask is ",
          torch::headeronly::toString(mask.scalar_type()),
          ", not uint8; pass the second result of rectify");
  require(mask.is_cpu(), "mask is not on the CPU, where grad is");
  require(mask.size(1) == result.height && mask.size(2) == result.width &&
              mask.size(3) == result.channels / 8,
          "mask has shape [", mask.size(0), ", ", mask.size(1), ", ", mask.size(2), ", ",
          mask.size(3), "], not [M, ", result.height, ", ", result.width, ", ", result.channels / 8,
          "]: the result has shape [", result.samples, ", ", result.channels, ", ", result.height,
          ", ", result.width, "]; rectify the input of the same convolution");
  require(mask.is_contiguous(), "mask is not contiguous; call mask.contiguous()");
  require(mask.size(0) > 0 && result.samples % mask.size(0) == 0, "mask has ", mask.size(0),
          " samples and grad ", result.samples, "; the latter must be a multiple of the former");
}

GradientTarget mask_target(const std::optional<Tensor>& mask) {
  return {.data = nullptr,
          .add = false,
          .mask = mask ? static_cast<const uint8_t*>(mask->const_data_ptr()) : nullptr,
          .mask_samples = mask ? mask->size(0) : 0,
          .mask_first = 0};
}

}  // namespace vkdnw
