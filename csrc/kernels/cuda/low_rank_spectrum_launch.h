// The interface of low_rank_spectrum.cu for code that g++ compiles.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/spectrum_batch.h"

namespace vkdnw::cuda {

enum class JacobiPath { kBlocks, kPairs };

inline JacobiPath jacobi_path(int64_t vectors) {
  return vectors <= kMostBlockColumns ? JacobiPath::kBlocks : JacobiPath::kPairs;
}

// Fills batch.eigenvalues and batch.status, whose workspace is laid out already.
template <typename T>
cudaError_t launch_low_rank_spectrum(const SpectrumBatch<T>& batch, JacobiPath path,
                                     cudaStream_t stream);

}  // namespace vkdnw::cuda
