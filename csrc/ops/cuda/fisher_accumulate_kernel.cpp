#include <torch/csrc/stable/library.h>

#include "kernels/cuda/fisher_launch.h"
#include "ops/cuda/device.h"
#include "ops/cuda/softmax_steps.h"
#include "ops/fisher_accumulate.h"

namespace vkdnw {
namespace {

using torch::headeronly::ScalarType;

constexpr const char* kOp = "fisher_accumulate_";

template <typename T, typename Entry>
void accumulate(Tensor& fisher, const FactorArguments& arguments, double scale,
                cudaStream_t stream) {
  const Tensor steps = checked_steps_on_device(arguments, stream, kOp);
  const auto factored =
      factored_jacobian<Entry>(arguments, static_cast<const FactorStep*>(steps.const_data_ptr()));
  const auto shape = cuda::gram_shape(factored.samples, factored.columns);
  Tensor partial = scratch_like(fisher, shape.numbers() * static_cast<int64_t>(sizeof(T)));
  require_cuda(cuda::launch_fisher_accumulate(factored, static_cast<T>(scale),
                                              static_cast<T*>(fisher.mutable_data_ptr()),
                                              reinterpret_cast<T*>(bytes_of(partial)), stream),
               kOp);
}

template <typename T>
void accumulate(Tensor& fisher, const FactorArguments& arguments, double scale,
                cudaStream_t stream) {
  arguments.jacobian.scalar_type() == ScalarType::Double
      ? accumulate<T, double>(fisher, arguments, scale, stream)
      : accumulate<T, float>(fisher, arguments, scale, stream);
}

void fisher_accumulate_(Tensor fisher, const Tensor& jacobian, const Tensor& probabilities,
                        bool released, double scale) {
  const FactorArguments arguments{jacobian, probabilities,
                                  released ? Convention::kReleased : Convention::kFisher};
  require_fisher(fisher, arguments, scale);
  const OnDeviceOf device(fisher);
  fisher.scalar_type() == ScalarType::Double
      ? accumulate<double>(fisher, arguments, scale, device.stream())
      : accumulate<float>(fisher, arguments, scale, device.stream());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CUDA, m) {
  m.impl("fisher_accumulate_", TORCH_BOX(&fisher_accumulate_));
}

}  // namespace vkdnw
