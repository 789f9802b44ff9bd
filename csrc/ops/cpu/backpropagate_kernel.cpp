#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "kernels/tape/tape_run.h"
#include "ops/backpropagate.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

void run_on_cpu(const tape::Tape& tape, const Tensor& /* planes */) {
  tape::run(tape, [](int64_t count, const auto& work) {
    torch::stable::parallel_for(0, count, 1, work);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("backpropagate_", TORCH_BOX(&backpropagate_<run_on_cpu>));
}

}  // namespace vkdnw
