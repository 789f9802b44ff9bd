#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <tuple>

#include "ops/rectify.h"
#include "ops/results.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

// Groups below which handing work to another thread costs more than it saves.
constexpr int64_t kGroupsPerThread = 4 * 1024;

std::tuple<Tensor, Tensor> rectify(const Tensor& x) {
  relu::Rectification problem = checked_rectification(x);
  const ImageSizes sizes = ImageSizes::of(x);
  Tensor result = empty_images(sizes);
  Tensor mask = empty_masks(sizes, sizes.channels / 8);
  problem.relu = writable_floats(result);
  problem.mask = writable_bytes(mask);
  torch::stable::parallel_for(
      0, problem.groups, kGroupsPerThread,
      [&](int64_t first, int64_t last) { relu::rectify(problem, first, last); });
  return {result, mask};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) { m.impl("rectify", TORCH_BOX(&rectify)); }

}  // namespace vkdnw
