// Arguments that vkdnw::fisher_accumulate_ and vkdnw::fisher_factor share.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "kernels/fisher/softmax_factor.h"

namespace vkdnw {

using torch::stable::Tensor;

struct FactorArguments {
  const Tensor& jacobian;       // [B, C - 1, P] float64 or float32, columns contiguous
  const Tensor& probabilities;  // [B, C] float64, contiguous
  Convention convention;

  int64_t samples() const { return jacobian.size(0); }
  int64_t classes() const { return probabilities.size(1); }
  int64_t columns() const { return jacobian.size(2); }
  bool is_double() const { return jacobian.scalar_type() == torch::headeronly::ScalarType::Double; }
  int64_t total_rows() const { return samples() * factor_rows(convention, classes()); }
};

// Throws std::invalid_argument, naming the argument, unless shapes, dtypes and devices fit.
FactorArguments checked_factor_arguments(const Tensor& jacobian, const Tensor& probabilities,
                                         bool released);

// The factored Jacobian as the kernels take it; `steps` are on the device of the arguments.
template <typename Entry>
FactoredJacobian<Entry> factored_jacobian(const FactorArguments& arguments,
                                          const FactorStep* steps) {
  const Tensor& jacobian = arguments.jacobian;
  return {.convention = arguments.convention,
          .samples = arguments.samples(),
          .classes = arguments.classes(),
          .columns = arguments.columns(),
          .jacobian = static_cast<const Entry*>(jacobian.const_data_ptr()),
          .sample_stride = jacobian.stride(0),
          .class_stride = jacobian.stride(1),
          .steps = steps};
}

}  // namespace vkdnw
