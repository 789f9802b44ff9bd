#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "ops/conv_input_gradient.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

// Multiply-adds below which handing work to another thread costs more than it saves.
constexpr int64_t kWorkPerThread = 1024 * 1024;

void run(const winograd::InputGradient& problem) {
  const int64_t work_per_tile = winograd::kPositions * problem.depth() * problem.channels;
  torch::stable::parallel_for(0, problem.tiles(), kWorkPerThread / work_per_tile + 1,
                              [&](int64_t first, int64_t last) {
                                winograd::InputGradientWorker(problem).run(first, last);
                              });
}

void run(const conv1x1::InputGradient& problem) {
  const int64_t work_per_pixel = problem.sources[0].channels * problem.channels;
  torch::stable::parallel_for(
      0, problem.samples * problem.pixels, kWorkPerThread / work_per_pixel + 1,
      [&](int64_t first, int64_t last) { conv1x1::input_gradient(problem, first, last); });
}

void run(const strided_conv::InputGradient& problem) {
  torch::stable::parallel_for(0, problem.samples, 1, [&](int64_t first, int64_t last) {
    strided_conv::InputGradientWorker(problem).run(first, last);
  });
}

Tensor conv_input_gradient(const Tensor& grad, const Tensor& weight,
                           const std::optional<Tensor>& mask, int64_t layer, int64_t height,
                           int64_t width, int64_t stride, int64_t padding) {
  ConvGradient call = checked_conv_gradient(
      {static_cast<Layer>(layer), grad, weight, mask, height, width, stride, padding});
  Tensor result = empty_images(call.result);
  std::visit(
      [&](auto& problem) {
        problem.target.data = writable_floats(result);
        run(problem);
      },
      call.problem);
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("conv_input_gradient", TORCH_BOX(&conv_input_gradient));
}

}  // namespace vkdnw
