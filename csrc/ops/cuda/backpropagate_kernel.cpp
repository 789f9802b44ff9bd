#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/cuda/tape_backward_launch.h"
#include "ops/backpropagate.h"
#include "ops/check.h"
#include "ops/cuda/device.h"

namespace vkdnw {
namespace {

constexpr const char* kOp = "backpropagate_";
constexpr uintptr_t kWeightsAlignment = 16;  // of a load

void require_fits(const tape::Tape& tape) {
  require(tape.norms.empty() && tape.products.empty(),
          "norms and products are computed on the CPU alone; elsewhere use torch.autograd.grad");
  for (std::size_t i = 0; i < tape.cotangents.size(); ++i) {
    require(tape.cotangents[i].signs == nullptr, "cotangents[", i,
            "] are packed signs, which are taken on the CPU alone; give float32 numbers");
  }
  for (std::size_t i = 0; i < tape.values.size(); ++i) {
    require(tape.values[i].floats() <= std::numeric_limits<int32_t>::max(), "values[", i, "] has ",
            tape.values[i].floats(), " numbers a sample; fewer than 2^31 on a GPU");
  }
  for (std::size_t i = 0; i < tape.terms.size(); ++i) {
    const tape::Term& term = tape.terms[i];
    require(reinterpret_cast<uintptr_t>(term.weights) % kWeightsAlignment == 0 ||
                term.layer == tape::Layer::kScale,
            "terms[", i, "] has weights that do not begin at a multiple of 16 bytes; clone them");
  }
}

void run_on_device(const tape::Tape& tape, const Tensor& planes) {
  require_fits(tape);
  const OnDeviceOf device(planes);
  cuda::TapeLimits limits{};
  require_cuda(cuda::tape_limits(limits), kOp);
  const cuda::TapeTables tables = cuda::lay_out_tape(tape, limits.shared_floats);
  const int64_t blocks = std::min(limits.blocks, tables.items());
  if (blocks == 0) {
    return;
  }
  Tensor scratch = scratch_like(planes, cuda::tape_scratch(tables, blocks).bytes);
  require_cuda(cuda::launch_tape_backward(tables, blocks, bytes_of(scratch), device.stream()), kOp);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CUDA, m) {
  m.impl("backpropagate_", TORCH_BOX(&backpropagate_<run_on_device>));
}

}  // namespace vkdnw
