// One-sided Jacobi of matrices too large for a block's registers: columns stay in global memory, a
// launch is one round of the tournament for all matrices, a warp a pair of columns.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "kernels/cuda/gather_vectors.h"
#include "kernels/cuda/rotation.h"

namespace vkdnw::cuda {

// A warp a column of the triangle: squared norms, into the first buffer.
template <typename T>
__global__ __launch_bounds__(kSpectrumThreads) void measure_triangle(SpectrumBatch<T> batch,
                                                                     int64_t blocks) {
  const int64_t matrix = blockIdx.x / blocks;
  const int64_t k = blockIdx.x % blocks * kSpectrumWarps + warp_index();
  if (k >= batch.vectors()) {
    return;
  }
  const T* column = batch.triangle_column(matrix, k);
  T sum = T(0);
  for (int64_t i = lane_index(); i < batch.padded(); i += kWarp) {
    sum += column[i] * column[i];
  }
  sum = warp_sum(sum);
  if (lane_index() == 0) {
    batch.norms_of(matrix, 0)[k] = sum;
  }
}

// Rotates one pair, and keeps the sweep's largest cosine and sine of this match's place: a place
// belongs to one warp of each launch.
template <typename T>
__global__ __launch_bounds__(kSpectrumThreads) void meet_columns(SpectrumBatch<T> batch,
                                                                 int64_t blocks, int players,
                                                                 int round) {
  const int64_t matrix = blockIdx.x / blocks;
  const auto number = static_cast<int>(blockIdx.x % blocks * kSpectrumWarps + warp_index());
  const int64_t count = batch.vectors();
  if (number >= players / 2 || !batch.waiting(matrix)) {
    return;
  }
  const Match meeting = match(players, round, number);
  if (meeting.second >= count) {
    return;
  }
  T* p = batch.triangle_column(matrix, meeting.first);
  T* q = batch.triangle_column(matrix, meeting.second);
  T* norms = batch.norms_of(matrix, 0);
  T product = T(0);
#pragma unroll 4
  for (int64_t i = lane_index(); i < batch.padded(); i += kWarp) {
    product += p[i] * q[i];
  }
  const T norm_p = norms[meeting.first];
  const T norm_q = norms[meeting.second];
  const Rotation<T> rotation(warp_sum(product), norm_p, norm_q, squared_tolerance<T>(count));
  if (!rotation.wanted) {
    return;
  }
  T sum = T(0);
#pragma unroll 4
  for (int64_t i = lane_index(); i < batch.padded(); i += kWarp) {
    T first = p[i];
    T second = q[i];
    rotation.apply(first, second);
    p[i] = first;
    q[i] = second;
    sum += second * second;
  }
  sum = warp_sum(sum);
  __syncwarp();  // all lanes have read the norms: a shuffle orders no memory
  if (lane_index() == 0) {
    const T small = rotation.swapped ? norm_p : norm_q;
    norms[meeting.first] = (rotation.swapped ? norm_q : norm_p) - rotation.transfer;
    const T updated = small + rotation.transfer;
    norms[meeting.second] = norm_has_cancelled(updated, small) ? sum : updated;
    T* rotated = batch.rotated + (matrix * count + number) * 2;
    Largest<T> largest{rotated[0], rotated[1]};
    rotation.note(largest);
    rotated[0] = largest.squared_cosine;
    rotated[1] = largest.sine;
  }
}

// A block a matrix: whether the sweep was the last one. Clears the places for the next.
template <typename T>
__global__ __launch_bounds__(kSpectrumThreads) void end_sweep(SpectrumBatch<T> batch) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  T* maxima = reinterpret_cast<T*>(shared_bytes);
  const int64_t matrix = blockIdx.x;
  const int64_t count = batch.vectors();
  if (!batch.waiting(matrix)) {
    return;
  }
  Largest<T> mine;
  for (int64_t i = threadIdx.x; i < count; i += kSpectrumThreads) {
    T* rotated = batch.rotated + (matrix * count + i) * 2;
    mine.squared_cosine = larger(mine.squared_cosine, rotated[0]);
    mine.sine = larger(mine.sine, rotated[1]);
    rotated[0] = rotated[1] = T(0);
  }
  const Largest<T> largest{block_max(mine.squared_cosine, maxima),
                           block_max(mine.sine, maxima + kSpectrumWarps)};
  if (threadIdx.x == 0 && largest.converged(count, squared_tolerance<T>(count))) {
    batch.status[matrix] = SpectrumStatus::kDone;
  }
}

template <typename T>
cudaError_t launch_sweep(const SpectrumBatch<T>& batch, cudaStream_t stream) {
  const auto players = static_cast<int>((batch.vectors() + 1) / 2 * 2);
  const int64_t columns = blocks_for(batch.vectors(), kSpectrumWarps);
  const int64_t matches = blocks_for(players / 2, kSpectrumWarps);
  VKDNW_RETURN_IF_CUDA_FAILS(launch(measure_triangle<T>, batch.matrices * columns, kSpectrumThreads,
                                    0, stream, batch, columns));
  for (int round = 0; round < players - 1; ++round) {
    VKDNW_RETURN_IF_CUDA_FAILS(launch(meet_columns<T>, batch.matrices * matches, kSpectrumThreads,
                                      0, stream, batch, matches, players, round));
  }
  return launch(end_sweep<T>, batch.matrices, kSpectrumThreads, 2 * kSpectrumWarps * sizeof(T),
                stream, batch);
}

// Waits for the device once a sweep, to learn whether any matrix needs another.
template <typename T>
cudaError_t launch_pair_jacobi(const SpectrumBatch<T>& batch, cudaStream_t stream) {
  const auto places = static_cast<size_t>(batch.matrices * batch.vectors() * 2) * sizeof(T);
  VKDNW_RETURN_IF_CUDA_FAILS(cudaMemsetAsync(batch.rotated, 0, places, stream));
  std::vector<SpectrumStatus> status(static_cast<size_t>(batch.matrices));
  bool waiting = true;
  for (int number = 0; number < jacobi::kMostSweeps && waiting; ++number) {
    VKDNW_RETURN_IF_CUDA_FAILS(launch_sweep(batch, stream));
    VKDNW_RETURN_IF_CUDA_FAILS(cudaMemcpyAsync(status.data(), batch.status,
                                               status.size() * sizeof(SpectrumStatus),
                                               cudaMemcpyDeviceToHost, stream));
    VKDNW_RETURN_IF_CUDA_FAILS(cudaStreamSynchronize(stream));
    waiting = false;
    for (const SpectrumStatus one : status) {
      waiting = waiting || one == SpectrumStatus::kNotConverged;
    }
  }
  const int64_t columns = blocks_for(batch.vectors(), kSpectrumWarps);
  return launch(measure_triangle<T>, batch.matrices * columns, kSpectrumThreads, 0, stream, batch,
                columns);
}

}  // namespace vkdnw::cuda
