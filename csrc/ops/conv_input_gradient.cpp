#include "ops/conv_input_gradient.h"

#include "ops/channels_last.h"
#include "ops/check.h"

namespace vkdnw {

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

void require_relu_mask(const Tensor& mask, const Tensor& grad, int64_t channels) {
  require_channels_last("mask", mask, "[M, Ci, H, W]", kConvGradientOtherwise);
  require(mask.size(1) == channels && mask.size(2) == grad.size(2) && mask.size(3) == grad.size(3),
          "mask has shape [", mask.size(0), ", ", mask.size(1), ", ", mask.size(2), ", ",
          mask.size(3), "] and the result [", grad.size(0), ", ", channels, ", ", grad.size(2),
          ", ", grad.size(3), "]; all but the first must agree");
  require(mask.size(0) > 0 && grad.size(0) % mask.size(0) == 0, "mask has ", mask.size(0),
          " samples and grad ", grad.size(0), "; the latter must be a multiple of the former");
}

}  // namespace vkdnw
