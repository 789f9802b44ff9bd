#include "ops/strided_conv_input_gradient.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"
#include "ops/check.h"
#include "ops/conv_input_gradient.h"

namespace vkdnw {
namespace {

using strided_conv::Axis;
using torch::stable::Tensor;

void require_weight(const Tensor& weight, const Tensor& grad) {
  require_float_on_cpu("weight", weight, 4, "[Kh, Kw, Co, Ci]", kConvGradientOtherwise);
  require(weight.is_contiguous(), "weight is not contiguous; call weight.contiguous()");
  require(weight.size(2) > 0 && weight.size(2) % kChannelMultiple == 0 && weight.size(3) > 0 &&
              weight.size(3) % kChannelMultiple == 0,
          "weight has ", weight.size(2), " output and ", weight.size(3),
          " input channels; both must be multiples of ", kChannelMultiple, "; for others, use ",
          kConvGradientOtherwise);
  require(weight.size(2) == grad.size(1), "grad has ", grad.size(1), " channels and weight ",
          weight.size(2),
          " output channels; pass the weight of the layer whose output this is "
          "the gradient of");
}

void require_axis(const char* name, const Axis& axis) {
  require(axis.is_consistent(), "grad has ", name, " ", axis.grad_size,
          ", which a convolution of kernel size ", axis.kernel, ", stride ", axis.stride,
          " and padding ", axis.padding, " does not make of ", axis.size);
}

}  // namespace

strided_conv::InputGradient checked_strided_gradient(const StridedConvArguments& arguments) {
  const Tensor& grad = arguments.grad;
  const Tensor& weight = arguments.weight;
  require_output_gradient(grad);
  require_weight(weight, grad);
  require(arguments.stride >= 1 && arguments.padding >= 0, "stride is ", arguments.stride,
          " and padding ", arguments.padding, "; they are at least 1 and 0");
  const Axis rows{arguments.height, grad.size(2), weight.size(0), arguments.stride,
                  arguments.padding};
  const Axis columns{arguments.width, grad.size(3), weight.size(1), arguments.stride,
                     arguments.padding};
  require_axis("height", rows);
  require_axis("width", columns);
  if (arguments.mask.has_value()) {
    require_relu_mask(*arguments.mask, {grad.size(0), weight.size(3), rows.size, columns.size});
  }
  return {.samples = grad.size(0),
          .rows = rows,
          .columns = columns,
          .grad_channels = weight.size(2),
          .channels = weight.size(3),
          .grad = static_cast<const float*>(grad.const_data_ptr()),
          .weights = static_cast<const float*>(weight.const_data_ptr()),
          .target = mask_target(arguments.mask)};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def(
      "strided_conv_input_gradient(Tensor grad, Tensor weight, Tensor? mask, int height, "
      "int width, int stride, int padding) -> Tensor");
}

}  // namespace vkdnw
