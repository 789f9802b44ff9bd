#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "kernels/tape/tape_run.h"
#include "ops/backpropagate.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

void backpropagate_(Tensor planes, const std::vector<Tensor>& seeds,
                    const std::vector<Tensor>& weights, const std::vector<Tensor>& masks,
                    const std::vector<Tensor>& norm_inputs,
                    const std::vector<Tensor>& norm_statistics,
                    const std::vector<Tensor>& norm_weights, const Tensor& values,
                    const Tensor& terms, const Tensor& readings, Tensor matrices,
                    const Tensor& products) {
  const tape::Tape tape = checked_tape({planes, seeds, weights, masks, norm_inputs, norm_statistics,
                                        norm_weights, values, terms, readings, matrices, products});
  tape::run(tape, [](int64_t count, const auto& work) {
    torch::stable::parallel_for(0, count, 1, work);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) { m.impl("backpropagate_", TORCH_BOX(&backpropagate_)); }

}  // namespace vkdnw
