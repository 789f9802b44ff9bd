// The interface of fisher.cu for code that g++ compiles.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/sizes.h"
#include "kernels/fisher/softmax_factor.h"
#include "kernels/fisher/softmax_status.h"

namespace vkdnw::cuda {

inline constexpr int kTile = 64;               // columns of A on either side of a tile of A^T A
inline constexpr int64_t kWantedBlocks = 512;  // a few for each multiprocessor of a large device

// Tiles on and below the diagonal, and the ranges of samples whose sums are added up at the end, in
// their order: how many follows from the sizes alone, and so do the bits.
struct GramShape {
  int64_t tiles;
  int64_t splits;

  int64_t elements() const { return splits > 1 ? splits * tiles * kTile * kTile : 0; }
};

inline GramShape gram_shape(int64_t samples, int64_t columns) {
  const int64_t side = blocks_for(columns, kTile);
  const int64_t tiles = side * (side + 1) / 2;
  const int64_t wanted = tiles == 0 ? 1 : blocks_for(kWantedBlocks, tiles);
  return {tiles, wanted < samples ? wanted : (samples > 0 ? samples : 1)};
}

// steps: [samples, factor_rows()]; status: [samples]; both on the device.
cudaError_t launch_softmax_steps(Convention convention, const double* probabilities,
                                 int64_t samples, int64_t classes, FactorStep* steps,
                                 SoftmaxStatus* status, cudaStream_t stream);

// factor: [samples * rows, columns], contiguous.
template <typename Entry>
cudaError_t launch_fisher_factor(const FactoredJacobian<Entry>& factored, double* factor,
                                 cudaStream_t stream);

// fisher: [columns, columns], contiguous; `partial` has gram_shape().elements() elements.
template <typename T, typename Entry>
cudaError_t launch_fisher_accumulate(const FactoredJacobian<Entry>& factored, T scale, T* fisher,
                                     T* partial, cudaStream_t stream);

}  // namespace vkdnw::cuda
