#include "ops/conv_input_gradient.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"
#include "ops/check.h"
#include "ops/conv_weights.h"

namespace vkdnw {
namespace {

using strided_conv::Axis;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr const char* kOtherwise = "torch.nn.grad.conv2d_input";

void require_grad(const Tensor& grad) {
  require_channels_last("grad", grad, "[N, Co, Ho, Wo]", kOtherwise);
  require(grad.size(2) > 0 && grad.size(3) > 0, "grad has images of ", grad.size(2), " x ",
          grad.size(3), " pixels; there must be at least one");
}

// The channel counts of a weight.
struct Channels {
  int64_t output;
  int64_t input;
};

Channels checked_weight(Layer layer, const Tensor& weight) {
  switch (layer) {
    case Layer::kConv3x3:
      require_winograd_weights("weight", weight);
      return {.output = weight.size(2), .input = weight.size(1)};
    case Layer::kConv1x1:
      require_conv_weight(weight, 1, kOtherwise);
      require(weight.is_contiguous(), "weight is not contiguous; call weight.contiguous()");
      return {.output = weight.size(0), .input = weight.size(1)};
    case Layer::kStridedConv:
      require_float_on_cpu("weight", weight, 4, "[Kh, Kw, Co, Ci]", kOtherwise);
      require(weight.is_contiguous(), "weight is not contiguous; call weight.contiguous()");
      require(weight.size(2) > 0 && weight.size(2) % kChannelMultiple == 0 && weight.size(3) > 0 &&
                  weight.size(3) % kChannelMultiple == 0,
              "weight has ", weight.size(2), " output and ", weight.size(3),
              " input channels; both must be multiples of ", kChannelMultiple, "; for others, use ",
              kOtherwise);
      return {.output = weight.size(2), .input = weight.size(3)};
    default:
      break;
  }
  refuse("layer is ", static_cast<int64_t>(layer),
         "; it is 1 (3x3 convolution), 2 (1x1) or 3 (strided)");
}

// Kernel size along an axis of the weight, 0 or 1.
int64_t kernel_size(const ConvGradientArguments& arguments, int axis) {
  switch (arguments.layer) {
    case Layer::kConv3x3:
      return 3;
    case Layer::kConv1x1:
      return 1;
    default:
      return arguments.weight.size(axis);
  }
}

void require_geometry(const ConvGradientArguments& arguments) {
  require(arguments.stride >= 1 && arguments.padding >= 0, "stride is ", arguments.stride,
          " and padding ", arguments.padding, "; they are at least 1 and 0");
  if (arguments.layer != Layer::kStridedConv) {
    const int64_t padding = arguments.layer == Layer::kConv3x3 ? 1 : 0;
    require(arguments.stride == 1 && arguments.padding == padding, "stride is ", arguments.stride,
            " and padding ", arguments.padding, "; this layer has 1 and ", padding,
            "; for others, use the strided convolution");
  }
}

Axis checked_axis(const char* name, const ConvGradientArguments& arguments, int axis) {
  const Axis checked{.size = axis == 0 ? arguments.height : arguments.width,
                     .grad_size = arguments.grad.size(2 + axis),
                     .kernel = kernel_size(arguments, axis),
                     .stride = arguments.stride,
                     .padding = arguments.padding};
  require(checked.is_consistent(), "grad has ", name, " ", checked.grad_size,
          ", which a convolution of kernel size ", checked.kernel, ", stride ", checked.stride,
          " and padding ", checked.padding, " does not make of ", checked.size);
  return checked;
}

void require_relu_mask(const Tensor& mask, const ImageSizes& result) {
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

GradientTarget checked_target(const std::optional<Tensor>& mask, const ImageSizes& result) {
  if (mask.has_value()) {
    require_relu_mask(*mask, result);
  }
  return {.data = nullptr,
          .add = false,
          .mask = mask ? static_cast<const uint8_t*>(mask->const_data_ptr()) : nullptr,
          .mask_samples = mask ? mask->size(0) : 0,
          .mask_first = 0};
}

}  // namespace

ConvGradient checked_conv_gradient(const ConvGradientArguments& arguments) {
  const Tensor& grad = arguments.grad;
  require_grad(grad);
  const Channels channels = checked_weight(arguments.layer, arguments.weight);
  require(grad.size(1) == channels.output, "grad has ", grad.size(1), " channels and weight ",
          channels.output,
          " output channels; pass the weight of the layer whose output this is the gradient of");
  require_geometry(arguments);
  const Axis rows = checked_axis("height", arguments, 0);
  const Axis columns = checked_axis("width", arguments, 1);
  const ImageSizes result{grad.size(0), channels.input, rows.size, columns.size};
  const GradientTarget target = checked_target(arguments.mask, result);
  const float* weights = floats_of(arguments.weight);
  switch (arguments.layer) {
    case Layer::kConv3x3:
      return {result, winograd::InputGradient{.samples = result.samples,
                                              .height = result.height,
                                              .width = result.width,
                                              .channels = result.channels,
                                              .sources = {{.channels = channels.output,
                                                           .grad = floats_of(grad),
                                                           .weights = weights,
                                                           .patches = nullptr,
                                                           .transformed = false}},
                                              .target = target}};
    case Layer::kConv1x1:
      return {result, conv1x1::InputGradient{.samples = result.samples,
                                             .pixels = result.height * result.width,
                                             .channels = result.channels,
                                             .sources = {{.channels = channels.output,
                                                          .grad = floats_of(grad),
                                                          .weights = weights}},
                                             .target = target}};
    default:
      break;
  }
  return {result, strided_conv::InputGradient{.samples = result.samples,
                                              .rows = rows,
                                              .columns = columns,
                                              .grad_channels = channels.output,
                                              .channels = result.channels,
                                              .grad = floats_of(grad),
                                              .weights = weights,
                                              .target = target}};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def(
      "conv_input_gradient(Tensor grad, Tensor weight, Tensor? mask, int layer, int height, "
      "int width, int stride, int padding) -> Tensor");
}

}  // namespace vkdnw
