#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>
#include <tuple>

#include "ops/rectify.h"

namespace vkdnw {
namespace {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Groups below which handing work to another thread costs more than it saves.
constexpr int64_t kGroupsPerThread = 4 * 1024;

std::tuple<Tensor, Tensor> rectify(const Tensor& x) {
  relu::Rectification problem = checked_rectification(x);
  const std::array<int64_t, 4> packed{x.size(0), x.size(2), x.size(3), x.size(1) / 8};
  Tensor result = torch::stable::empty(x.sizes(), ScalarType::Float, std::nullopt, x.device(),
                                       std::nullopt, MemoryFormat::ChannelsLast);
  Tensor mask = torch::stable::empty(packed, ScalarType::Byte, std::nullopt, x.device(),
                                     std::nullopt, std::nullopt);
  problem.relu = static_cast<float*>(result.mutable_data_ptr());
  problem.mask = static_cast<uint8_t*>(mask.mutable_data_ptr());
  torch::stable::parallel_for(
      0, problem.groups, kGroupsPerThread,
      [&](int64_t first, int64_t last) { relu::rectify(problem, first, last); });
  return {result, mask};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) { m.impl("rectify", TORCH_BOX(&rectify)); }

}  // namespace vkdnw
