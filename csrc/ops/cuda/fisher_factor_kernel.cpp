#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>

#include "kernels/cuda/fisher_launch.h"
#include "ops/cuda/device.h"
#include "ops/cuda/softmax_steps.h"

namespace vkdnw {
namespace {

using torch::headeronly::ScalarType;

constexpr const char* kOp = "fisher_factor";

template <typename Entry>
void write_factor(const FactorArguments& arguments, Tensor& factor, cudaStream_t stream) {
  const Tensor steps = checked_steps_on_device(arguments, stream, kOp);
  const auto factored =
      factored_jacobian<Entry>(arguments, static_cast<const FactorStep*>(steps.const_data_ptr()));
  require_cuda(
      cuda::launch_fisher_factor(factored, static_cast<double*>(factor.mutable_data_ptr()), stream),
      kOp);
}

Tensor fisher_factor(const Tensor& jacobian, const Tensor& probabilities, bool released) {
  const FactorArguments arguments{jacobian, probabilities,
                                  released ? Convention::kReleased : Convention::kFisher};
  require_factor_arguments(arguments);
  const OnDeviceOf device(jacobian);
  const std::array<int64_t, 2> shape{arguments.total_rows(), arguments.columns()};
  Tensor factor = torch::stable::new_empty(jacobian, shape, ScalarType::Double);
  jacobian.scalar_type() == ScalarType::Double
      ? write_factor<double>(arguments, factor, device.stream())
      : write_factor<float>(arguments, factor, device.stream());
  return factor;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CUDA, m) { m.impl("fisher_factor", TORCH_BOX(&fisher_factor)); }

}  // namespace vkdnw
