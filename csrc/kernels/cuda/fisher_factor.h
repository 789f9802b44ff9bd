// The factored Jacobian of a batch as a matrix.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/fisher_launch.h"
#include "kernels/cuda/launch.h"
#include "kernels/fisher/softmax_factor.h"

namespace vkdnw::cuda {

inline constexpr int64_t kFactorThreads = 128;

// One thread a sample and column sweeps over the classes: neighbours read neighbours, and a
// sample's steps are read by all of them at once.
template <typename Entry>
__global__ __launch_bounds__(kFactorThreads) void write_factor(FactoredJacobian<Entry> factored,
                                                               int64_t panels, double* factor) {
  const int64_t sample = blockIdx.x / panels;
  const int64_t column = blockIdx.x % panels * kFactorThreads + threadIdx.x;
  if (column >= factored.columns) {
    return;
  }
  const int64_t rows = factored.rows();
  const Entry* own = factored.jacobian + sample * factored.sample_stride + column;
  const FactorStep* steps = factored.steps + sample * rows;
  double* target = factor + sample * rows * factored.columns + column;
  double sum = 0.0;
#pragma unroll 4
  for (int64_t s = 0; s < rows; ++s) {
    const int64_t row = row_of_step(factored.convention, factored.classes, s);
    const double entry =
        row < factored.classes - 1 ? static_cast<double>(own[row * factored.class_stride]) : 0.0;
    target[row * factored.columns] = steps[s].own * entry + steps[s].sum * sum;
    sum += steps[s].carry * entry;
  }
}

template <typename Entry>
cudaError_t launch_fisher_factor(const FactoredJacobian<Entry>& factored, double* factor,
                                 cudaStream_t stream) {
  const int64_t panels = blocks_for(factored.columns, kFactorThreads);
  return launch(write_factor<Entry>, factored.samples * panels, kFactorThreads, 0, stream, factored,
                panels, factor);
}

}  // namespace vkdnw::cuda
