#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <array>

#include "ops/relu_mask.h"

namespace vkdnw {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Numbers below which handing work to another thread costs more than it saves.
constexpr int64_t kNumbersPerThread = 64 * 1024;

Tensor relu_mask(const Tensor& activated) {
  relu::Masking problem = checked_masking(activated);
  const std::array<int64_t, 4> shape{activated.size(0), activated.size(2), activated.size(3),
                                     relu::mask_bytes(problem.channels)};
  Tensor mask = torch::stable::empty(shape, ScalarType::Byte, std::nullopt, activated.device(),
                                     std::nullopt, std::nullopt);
  problem.mask = static_cast<uint8_t*>(mask.mutable_data_ptr());
  torch::stable::parallel_for(
      0, problem.pixels, kNumbersPerThread / std::max<int64_t>(1, problem.channels) + 1,
      [&](int64_t first, int64_t last) { relu::mask_pixels(problem, first, last); });
  return mask;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) { m.impl("relu_mask", TORCH_BOX(&relu_mask)); }

}  // namespace vkdnw
