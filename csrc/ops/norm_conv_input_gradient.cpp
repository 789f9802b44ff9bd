#include <torch/csrc/stable/library.h>

namespace vkdnw {

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def(
      "norm_conv3x3_input_gradient(Tensor grad, Tensor x, Tensor coefficients, "
      "Tensor transformed, Tensor? mask) -> Tensor");
  m.def(
      "norm_conv1x1_input_gradient(Tensor grad, Tensor x, Tensor coefficients, Tensor weight, "
      "Tensor? mask) -> Tensor");
  m.def(
      "norm_strided_conv_input_gradient(Tensor grad, Tensor x, Tensor coefficients, "
      "Tensor weight, Tensor? mask, int height, int width, int stride, int padding) -> Tensor");
}

}  // namespace vkdnw
