// Takes the headers that CPU and CUDA kernels share through nvcc: VKDNW_CUDA=COMPILE_ONLY builds
// and links this file, nothing installs it. A device function that calls host code fails here.
#include <cstdint>

#include "kernels/softmax_factor.h"

namespace vkdnw {
namespace {

__global__ void factor_steps_of_samples(Convention convention, const double* probabilities,
                                        int64_t samples, int64_t classes, FactorStep* steps,
                                        bool* exists) {
  const int64_t sample = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (sample < samples) {
    exists[sample] = factor_steps(convention, probabilities + sample * classes, classes,
                                  steps + sample * factor_rows(convention, classes));
  }
}

}  // namespace

cudaError_t launch_factor_steps(Convention convention, const double* probabilities, int64_t samples,
                                int64_t classes, FactorStep* steps, bool* exists,
                                cudaStream_t stream) {
  constexpr int64_t kThreads = 128;
  const auto blocks = static_cast<unsigned>((samples + kThreads - 1) / kThreads);
  factor_steps_of_samples<<<blocks, kThreads, 0, stream>>>(convention, probabilities, samples,
                                                           classes, steps, exists);
  return cudaGetLastError();
}

}  // namespace vkdnw
