#include <torch/csrc/stable/library.h>

#include "kernels/cuda/fisher_launch.h"
#include "ops/cuda/device.h"
#include "ops/cuda/softmax_steps.h"
#include "ops/fisher_accumulate.h"

namespace vkdnw {
namespace {

constexpr const char* kOp = "fisher_accumulate_";

struct CudaKernel {
  template <typename T, typename Entry>
  static void accumulate(Tensor& fisher, const FactorArguments& arguments, double scale) {
    const OnDeviceOf device(fisher);
    const Tensor steps = checked_steps_on_device(arguments, device.stream(), kOp);
    const auto factored =
        factored_jacobian<Entry>(arguments, static_cast<const FactorStep*>(steps.const_data_ptr()));
    const auto shape = cuda::gram_shape(factored.samples, factored.columns);
    Tensor partial = scratch_like(fisher, shape.elements() * static_cast<int64_t>(sizeof(T)));
    require_cuda(cuda::launch_fisher_accumulate(
                     factored, static_cast<T>(scale), static_cast<T*>(fisher.mutable_data_ptr()),
                     reinterpret_cast<T*>(bytes_of(partial)), device.stream()),
                 kOp);
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CUDA, m) {
  m.impl("fisher_accumulate_", TORCH_BOX(&fisher_accumulate_<CudaKernel>));
}

}  // namespace vkdnw
