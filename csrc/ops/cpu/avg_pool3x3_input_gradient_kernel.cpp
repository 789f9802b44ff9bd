#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "ops/avg_pool3x3_input_gradient.h"
#include "ops/results.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

// Floats below which handing work to another thread costs more than it saves.
constexpr int64_t kFloatsPerThread = 64 * 1024;

Tensor compute(avg_pool::InputGradient problem, const Tensor& images) {
  Tensor result = empty_images(ImageSizes::of(images));
  if (images.numel() == 0) {
    return result;
  }
  problem.result = writable_floats(result);
  const int64_t grain = kFloatsPerThread / (problem.width * problem.channels) + 1;
  torch::stable::parallel_for(0, problem.rows(), grain, [&](int64_t first, int64_t last) {
    avg_pool::input_gradient(problem, first, last);
  });
  return result;
}

Tensor avg_pool3x3_input_gradient(const Tensor& grad) {
  return compute(checked_pooling("grad", grad, "torch.ops.aten.avg_pool2d_backward"), grad);
}

Tensor avg_pool3x3(const Tensor& x) {
  avg_pool::InputGradient problem = checked_pooling("x", x, "torch.nn.functional.avg_pool2d");
  problem.mean = true;
  return compute(problem, x);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("avg_pool3x3_input_gradient", TORCH_BOX(&avg_pool3x3_input_gradient));
  m.impl("avg_pool3x3", TORCH_BOX(&avg_pool3x3));
}

}  // namespace vkdnw
