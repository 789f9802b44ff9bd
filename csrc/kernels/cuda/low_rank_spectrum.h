// Eigenvalues of A^T A from A for a batch of factors: pivoted QR, then one-sided Jacobi on the
// triangle (Drmac and Veselic 2008); A^T A is never formed.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "kernels/cuda/block_jacobi.h"
#include "kernels/cuda/gather_vectors.h"
#include "kernels/cuda/low_rank_spectrum_launch.h"
#include "kernels/cuda/pair_jacobi.h"
#include "kernels/cuda/pivoted_qr.h"

namespace vkdnw::cuda {

// A block a matrix: squared norms, unscaled, in ascending order; each thread counts the
// values before its own.
template <typename T>
__global__ __launch_bounds__(kSpectrumThreads) void write_eigenvalues(SpectrumBatch<T> batch) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  T* scratch = reinterpret_cast<T*>(shared_bytes);
  const int64_t matrix = blockIdx.x;
  const int64_t count = batch.vectors();
  if (batch.status[matrix] != SpectrumStatus::kDone) {
    return;
  }
  const T* norms = batch.norms_of(matrix, 0);
  // Applied twice: the square of the scaling may lie beyond the range.
  const T unscaling = std::ldexp(T(1), -batch.exponent[matrix]);
  T not_finite = T(0);
  for (int64_t j = threadIdx.x; j < count; j += kSpectrumThreads) {
    int64_t before = 0;
    for (int64_t l = 0; l < count; ++l) {
      before += norms[l] < norms[j] || (norms[l] == norms[j] && l < j);
    }
    const T eigenvalue = norms[j] * unscaling * unscaling;
    batch.eigenvalues[matrix * count + before] = eigenvalue;
    not_finite = larger(not_finite, eigenvalue < T(HUGE_VAL) ? T(0) : T(1));
  }
  if (block_max(not_finite, scratch) > T(0) && threadIdx.x == 0) {
    batch.status[matrix] = SpectrumStatus::kOverflow;
  }
}

template <typename T>
cudaError_t launch_low_rank_spectrum(const SpectrumBatch<T>& batch, JacobiPath path,
                                     cudaStream_t stream) {
  VKDNW_RETURN_IF_CUDA_FAILS(launch_gather(batch, stream));
  VKDNW_RETURN_IF_CUDA_FAILS(launch_pivoted_qr(batch, stream));
  VKDNW_RETURN_IF_CUDA_FAILS(path == JacobiPath::kBlocks ? launch_block_jacobi(batch, stream)
                                                         : launch_pair_jacobi(batch, stream));
  return launch(write_eigenvalues<T>, batch.matrices, kSpectrumThreads, kSpectrumWarps * sizeof(T),
                stream, batch);
}

}  // namespace vkdnw::cuda
