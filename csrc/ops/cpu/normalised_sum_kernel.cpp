#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <tuple>
#include <vector>

#include "ops/normalised_sum.h"
#include "ops/results.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

// Floats below which handing work to another thread costs more than it saves.
constexpr int64_t kFloatsPerThread = 64 * 1024;

std::tuple<Tensor, Tensor> normalised_sum_of(const std::vector<Tensor>& maps,
                                             const std::vector<Tensor>& factors,
                                             const std::vector<int64_t>& pooled) {
  normalised_sum::Sum problem = checked_sum(maps, factors, pooled);
  const ImageSizes sizes = ImageSizes::of(maps[0]);
  Tensor result = empty_images(sizes);
  Tensor mask = empty_masks(sizes, relu::mask_bytes(sizes.channels));
  problem.result = writable_floats(result);
  problem.mask = writable_bytes(mask);
  torch::stable::parallel_for(
      0, problem.rows(), kFloatsPerThread / problem.floats_per_row() + 1,
      [&](int64_t first, int64_t last) { normalised_sum::SumWorker(problem).run(first, last); });
  return {result, mask};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("normalised_sum", TORCH_BOX(&normalised_sum_of));
}

}  // namespace vkdnw
