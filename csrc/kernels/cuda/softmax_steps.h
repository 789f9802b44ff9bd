// The steps of the softmax factor from probabilities, and the fault of those, if there is one.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "kernels/cuda/fisher_launch.h"
#include "kernels/cuda/launch.h"
#include "kernels/fisher/softmax_factor.h"
#include "kernels/fisher/softmax_status.h"

namespace vkdnw::cuda {

inline constexpr unsigned kStepThreads = 64;

// One thread a sample: a sweep over the classes is sequential, and short beside the Jacobian's.
static __global__ void write_softmax_steps(Convention convention, const double* probabilities,
                                           int64_t samples, int64_t classes, FactorStep* steps,
                                           SoftmaxStatus* status) {
  const int64_t sample = static_cast<int64_t>(blockIdx.x) * kStepThreads + threadIdx.x;
  if (sample >= samples) {
    return;
  }
  const double* p = probabilities + sample * classes;
  SoftmaxStatus found = status_of_probabilities(convention, p, classes);
  if (!factor_steps(convention, p, classes, steps + sample * factor_rows(convention, classes)) &&
      found == SoftmaxStatus::kFine) {
    found = SoftmaxStatus::kNoFactor;
  }
  status[sample] = found;
}

cudaError_t launch_softmax_steps(Convention convention, const double* probabilities,
                                 int64_t samples, int64_t classes, FactorStep* steps,
                                 SoftmaxStatus* status, cudaStream_t stream) {
  return launch(write_softmax_steps, blocks_for(samples, kStepThreads), kStepThreads, 0, stream,
                convention, probabilities, samples, classes, steps, status);
}

}  // namespace vkdnw::cuda
