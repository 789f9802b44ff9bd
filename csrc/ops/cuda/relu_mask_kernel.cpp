#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>

#include "kernels/cuda/relu_mask_launch.h"
#include "ops/cuda/device.h"
#include "ops/relu_mask.h"

namespace vkdnw {
namespace {

Tensor relu_mask(const Tensor& activated) {
  const relu::Masking problem = checked_masking(activated);
  const OnDeviceOf device(activated);
  const std::array<int64_t, 4> shape{activated.size(0), activated.size(2), activated.size(3),
                                     relu::mask_bytes(problem.channels)};
  Tensor mask = torch::stable::new_empty(activated, shape, torch::headeronly::ScalarType::Byte);
  require_cuda(cuda::launch_relu_mask({.numbers = problem.relu,
                                       .mask = static_cast<uint8_t*>(mask.mutable_data_ptr()),
                                       .pixels = problem.pixels,
                                       .channels = problem.channels,
                                       .bytes = relu::mask_bytes(problem.channels)},
                                      device.stream()),
               "relu_mask");
  return mask;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CUDA, m) { m.impl("relu_mask", TORCH_BOX(&relu_mask)); }

}  // namespace vkdnw
