#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>
#include <tuple>
#include <vector>

#include "ops/normalised_sum.h"

namespace vkdnw {
namespace {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Numbers below which handing work to another thread costs more than it saves.
constexpr int64_t kNumbersPerThread = 64 * 1024;

std::tuple<Tensor, Tensor> normalised_sum_of(const std::vector<Tensor>& maps,
                                             const std::vector<Tensor>& factors,
                                             const std::vector<int64_t>& pooled) {
  normalised_sum::Sum problem = checked_sum(maps, factors, pooled);
  const Tensor& like = maps[0];
  Tensor result = torch::stable::empty(like.sizes(), ScalarType::Float, std::nullopt, like.device(),
                                       std::nullopt, MemoryFormat::ChannelsLast);
  const std::array<int64_t, 4> packed{like.size(0), like.size(2), like.size(3),
                                      relu::mask_bytes(problem.channels)};
  Tensor mask = torch::stable::empty(packed, ScalarType::Byte, std::nullopt, like.device(),
                                     std::nullopt, std::nullopt);
  problem.result = static_cast<float*>(result.mutable_data_ptr());
  problem.mask = static_cast<uint8_t*>(mask.mutable_data_ptr());
  torch::stable::parallel_for(
      0, problem.rows(), kNumbersPerThread / problem.row_numbers() + 1,
      [&](int64_t first, int64_t last) { normalised_sum::SumWorker(problem).run(first, last); });
  return {result, mask};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("normalised_sum", TORCH_BOX(&normalised_sum_of));
}

}  // namespace vkdnw
