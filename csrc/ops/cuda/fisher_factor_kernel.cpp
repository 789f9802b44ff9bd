#include <torch/csrc/stable/library.h>

#include "kernels/cuda/fisher_launch.h"
#include "ops/cuda/device.h"
#include "ops/cuda/softmax_steps.h"
#include "ops/fisher_factor.h"

namespace vkdnw {
namespace {

constexpr const char* kOp = "fisher_factor";

struct CudaKernel {
  template <typename Entry>
  static void write(const FactorArguments& arguments, Tensor& factor) {
    const OnDeviceOf device(factor);
    const Tensor steps = checked_steps_on_device(arguments, device.stream(), kOp);
    const auto factored =
        factored_jacobian<Entry>(arguments, static_cast<const FactorStep*>(steps.const_data_ptr()));
    require_cuda(cuda::launch_fisher_factor(
                     factored, static_cast<double*>(factor.mutable_data_ptr()), device.stream()),
                 kOp);
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CUDA, m) {
  m.impl("fisher_factor", TORCH_BOX(&fisher_factor<CudaKernel>));
}

}  // namespace vkdnw
