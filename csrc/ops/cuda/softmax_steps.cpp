#include "ops/cuda/softmax_steps.h"

#include <vector>

#include "kernels/cuda/fisher_launch.h"
#include "ops/check.h"
#include "ops/cuda/device.h"

namespace vkdnw {
namespace {

void require_fine(SoftmaxStatus status, int64_t sample) {
  switch (status) {
    case SoftmaxStatus::kFine:
      return;
    case SoftmaxStatus::kNotAProbability:
      refuse("probabilities[", sample, "] holds a number that is negative or not finite; check ",
             "that the logits are finite and softmax was applied");
    case SoftmaxStatus::kNotNormalised:
      refuse("probabilities[", sample, "] does not sum to 1; normalise it");
    case SoftmaxStatus::kNoFactor:
      refuse("probabilities[", sample,
             "] leaves 1 - (p_0 + ... + p_j) <= 0 before the last class, where the released "
             "convention divides by it; use smoothing or the fisher convention");
  }
}

}  // namespace

Tensor checked_steps_on_device(const FactorArguments& arguments, cudaStream_t stream,
                               const char* op) {
  const int64_t samples = arguments.samples();
  const int64_t step_bytes = arguments.total_rows() * static_cast<int64_t>(sizeof(FactorStep));
  const int64_t status_bytes = samples * static_cast<int64_t>(sizeof(SoftmaxStatus));
  Tensor scratch = scratch_like(arguments.probabilities, step_bytes + status_bytes);
  auto* steps = reinterpret_cast<FactorStep*>(bytes_of(scratch));
  auto* status = reinterpret_cast<SoftmaxStatus*>(bytes_of(scratch) + step_bytes);
  require_cuda(cuda::launch_softmax_steps(
                   arguments.convention,
                   static_cast<const double*>(arguments.probabilities.const_data_ptr()), samples,
                   arguments.classes(), steps, status, stream),
               op);
  std::vector<SoftmaxStatus> found(static_cast<size_t>(samples));
  download(status, found.data(), samples, stream, op);
  for (int64_t sample = 0; sample < samples; ++sample) {
    require_fine(found[sample], sample);
  }
  return scratch;
}

}  // namespace vkdnw
