#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "ops/relu_mask.h"
#include "ops/results.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

// Floats below which handing work to another thread costs more than it saves.
constexpr int64_t kFloatsPerThread = 64 * 1024;

Tensor relu_mask(const Tensor& activated) {
  relu::Masking problem = checked_masking(activated);
  Tensor mask = empty_masks(ImageSizes::of(activated), relu::mask_bytes(problem.channels));
  problem.mask = writable_bytes(mask);
  torch::stable::parallel_for(
      0, problem.pixels, kFloatsPerThread / std::max<int64_t>(1, problem.channels) + 1,
      [&](int64_t first, int64_t last) { relu::mask_pixels(problem, first, last); });
  return mask;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) { m.impl("relu_mask", TORCH_BOX(&relu_mask)); }

}  // namespace vkdnw
