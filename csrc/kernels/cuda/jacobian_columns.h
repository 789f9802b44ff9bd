// Two launches for the columns of every layer, sample and cotangent: sums of products, one for
// each pick, then the columns they make up. Both write each number once, so no order of threads
// changes a bit.
//
// The first is bounded by reading the planes. In channels-last memory the positions of a channel
// lie a pixel apart, and each costs the 32 bytes around it; picks of one plane therefore share its
// loads, and cotangents follow one another, so that the input planes they share stay in cache.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "kernels/cuda/jacobian_columns_launch.h"
#include "kernels/cuda/jacobian_columns_tables.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp.h"

namespace vkdnw::cuda {

inline constexpr unsigned kColumnThreads = 256;
inline constexpr uint32_t kPositionsPerWarp = 8192;  // planes above take all warps of a block
inline constexpr int64_t kMostBlocks = int64_t{1} << 20;
inline constexpr int kPicksTogether = 3;  // a convolution and its folded normalisation

// Storage that is loaded at once.
template <typename Storage>
struct alignas(kVectorBytes) Vector {
  Storage element[kVectorLength<Storage>];
};

struct Position {
  uint32_t at[3];
};

template <typename Storage>
__device__ Position position_of(const GradPlane<Storage>& grad, uint32_t number) {
  const uint32_t row = number / grad.extent[2];
  return {{row / grad.extent[1], row % grad.extent[1], number % grad.extent[2]}};
}

// Steps back are possible: strides may be negative.
__device__ inline int32_t offset(const Position& o, const int32_t (&stride)[3]) {
  return static_cast<int32_t>(o.at[0]) * stride[0] + static_cast<int32_t>(o.at[1]) * stride[1] +
         static_cast<int32_t>(o.at[2]) * stride[2];
}

// An input plane with the sample's address; the part that a thread keeps in registers.
template <typename Storage>
struct Factor {
  using T = Accumulator<Storage>;

  InputPlane<Storage> plane;
  const Storage* origin;

  __device__ Factor() {}
  __device__ Factor(const InputPlane<Storage>& plane, int64_t sample)
      : plane(plane), origin(plane.data + plane.offset + sample * plane.sample_stride) {}

  __device__ bool ones() const { return plane.data == nullptr; }

  // Negative differences wrap around to large ones.
  __device__ bool inside(const Position& o) const {
    return o.at[0] - plane.first[0] < plane.count[0] && o.at[1] - plane.first[1] < plane.count[1] &&
           o.at[2] - plane.first[2] < plane.count[2];
  }

  __device__ const Storage* address(const Position& o) const {
    return origin + offset(o, plane.stride);
  }

  __device__ T value(const Position& o) const {
    if (ones()) {
      return T(1);
    }
    return inside(o) ? widen(*address(o)) - plane.shift : T(0);
  }

  // Whether the vector of positions from `o` on is one vector of the input, too.
  __device__ bool whole_vector(const Position& o) const {
    const uint32_t begin = o.at[2] - plane.first[2];
    return plane.stride[2] == 1 && inside(o) &&
           begin + static_cast<uint32_t>(kVectorLength<Storage>) <= plane.count[2] &&
           reinterpret_cast<uintptr_t>(address(o)) % kVectorBytes == 0;
  }
};

template <typename Storage>
__device__ void add_vector(const Vector<Storage>& grad, Position o, const Factor<Storage>& factor,
                           Accumulator<Storage>& sum) {
  constexpr int kLength = static_cast<int>(kVectorLength<Storage>);
  if (!factor.ones() && factor.whole_vector(o)) {
    const auto x = *reinterpret_cast<const Vector<Storage>*>(factor.address(o));
#pragma unroll
    for (int i = 0; i < kLength; ++i) {
      sum += widen(grad.element[i]) * (widen(x.element[i]) - factor.plane.shift);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kLength; ++i) {
    sum += widen(grad.element[i]) * factor.value(o);
    ++o.at[2];
  }
}

// This thread's share of the sums of up to kPicksTogether picks: positions `first`, `first + step`,
// and so on, or vectors of them.
template <typename Storage>
__device__ void add_positions(const GradPlane<Storage>& grad, const Storage* plane, uint32_t first,
                              uint32_t step, const Factor<Storage> (&factors)[kPicksTogether],
                              int count, Accumulator<Storage> (&sums)[kPicksTogether]) {
  if (grad.vectors) {
    constexpr auto kLength = static_cast<uint32_t>(kVectorLength<Storage>);
    for (uint32_t o = first * kLength; o < grad.size; o += step * kLength) {
      const Position at = position_of(grad, o);
      const auto g = *reinterpret_cast<const Vector<Storage>*>(plane + offset(at, grad.stride));
#pragma unroll
      for (int i = 0; i < kPicksTogether; ++i) {
        if (i < count) {
          add_vector(g, at, factors[i], sums[i]);
        }
      }
    }
    return;
  }
#pragma unroll 2
  for (uint32_t o = first; o < grad.size; o += step) {
    const Position at = position_of(grad, o);
    const auto g = widen(plane[offset(at, grad.stride)]);
#pragma unroll
    for (int i = 0; i < kPicksTogether; ++i) {
      if (i < count) {
        sums[i] += g * factors[i].value(at);
      }
    }
  }
}

// sums[item, pick] for items = samples * cotangents, the cotangent innermost. kGroup threads, a
// warp or the block, share a plane.
template <typename Storage, int kGroup>
__global__ __launch_bounds__(kColumnThreads) void sum_picks(const GradPlane<Storage>* grads,
                                                            const InputPlane<Storage>* inputs,
                                                            int64_t planes, int64_t samples,
                                                            int64_t cotangents, int64_t picks,
                                                            Accumulator<Storage>* sums) {
  using T = Accumulator<Storage>;
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  T* scratch = reinterpret_cast<T*>(shared_bytes);
  constexpr int kGroups = kColumnThreads / kGroup;
  const auto thread = static_cast<uint32_t>(threadIdx.x % kGroup);
  const int64_t items = samples * cotangents;
  int64_t work = static_cast<int64_t>(blockIdx.x) * kGroups + threadIdx.x / kGroup;
  for (; work < planes * items; work += static_cast<int64_t>(gridDim.x) * kGroups) {
    const GradPlane<Storage> grad = grads[work / items];
    const int64_t item = work % items;
    const int64_t sample = item / cotangents;
    const Storage* plane =
        grad.data + (item % cotangents) * grad.cotangent_stride + sample * grad.sample_stride;
    for (int64_t first = grad.first_pick; first < grad.last_pick; first += kPicksTogether) {
      const int64_t left = grad.last_pick - first;
      const int count = left < kPicksTogether ? static_cast<int>(left) : kPicksTogether;
      Factor<Storage> factors[kPicksTogether];
      T mine[kPicksTogether] = {};
#pragma unroll
      for (int i = 0; i < kPicksTogether; ++i) {
        if (i < count) {
          factors[i] = Factor<Storage>(inputs[first + i], sample);
        }
      }
      add_positions(grad, plane, thread, kGroup, factors, count, mine);
#pragma unroll
      for (int i = 0; i < kPicksTogether; ++i) {
        T sum;
        if constexpr (kGroup == kWarp) {
          sum = warp_sum(mine[i]);
        } else {
          sum = block_sum(mine[i], scratch);
          __syncthreads();
        }
        if (i < count && thread == 0) {
          sums[item * picks + first + i] = sum;
        }
      }
    }
  }
}

// jacobian[item, column] += its terms, one after the other.
template <typename T>
__global__ __launch_bounds__(kColumnThreads) void add_terms(
    const ColumnTerms* columns, const Term<T>* terms, int64_t column_count, int64_t picks,
    const T* sums, int64_t items, int64_t cotangents, T* jacobian, int64_t sample_stride,
    int64_t cotangent_stride) {
  int64_t work = static_cast<int64_t>(blockIdx.x) * kColumnThreads + threadIdx.x;
  for (; work < items * column_count; work += static_cast<int64_t>(gridDim.x) * kColumnThreads) {
    const int64_t item = work / column_count;
    const ColumnTerms column = columns[work % column_count];
    T& target = jacobian[item / cotangents * sample_stride + item % cotangents * cotangent_stride +
                         column.column];
    T value = target;
    for (int64_t i = column.first; i < column.last; ++i) {
      value += terms[i].scale * sums[item * picks + terms[i].pick];
    }
    target = value;
  }
}

inline int64_t capped_blocks(int64_t items, int64_t per_block) {
  const int64_t blocks = blocks_for(items, per_block);
  return blocks < kMostBlocks ? blocks : kMostBlocks;
}

template <typename Storage>
cudaError_t launch_sums(const JacobianColumnsTables<Storage>& tables, const ScratchLayout& layout,
                        unsigned char* scratch, cudaStream_t stream) {
  using T = Accumulator<Storage>;
  const auto planes = static_cast<int64_t>(tables.grads.size());
  const int64_t work = planes * tables.items();
  const bool by_block = tables.largest_plane > kPositionsPerWarp;
  constexpr int64_t kWarps = kColumnThreads / kWarp;
  return launch(
      by_block ? sum_picks<Storage, kColumnThreads> : sum_picks<Storage, kWarp>,
      capped_blocks(work, by_block ? 1 : kWarps), kColumnThreads, by_block ? kWarps * sizeof(T) : 0,
      stream, reinterpret_cast<const GradPlane<Storage>*>(scratch),
      reinterpret_cast<const InputPlane<Storage>*>(scratch + layout.inputs), planes, tables.samples,
      tables.cotangents, tables.picks(), reinterpret_cast<T*>(scratch + layout.sums));
}

template <typename Storage>
cudaError_t add_jacobian_columns(const JacobianColumnsTables<Storage>& tables,
                                 unsigned char* scratch, cudaStream_t stream) {
  using T = Accumulator<Storage>;
  const ScratchLayout layout = scratch_layout(tables);
  const std::vector<unsigned char> bytes = packed(tables, layout);
  VKDNW_RETURN_IF_CUDA_FAILS(
      cudaMemcpyAsync(scratch, bytes.data(), bytes.size(), cudaMemcpyHostToDevice, stream));
  VKDNW_RETURN_IF_CUDA_FAILS(launch_sums(tables, layout, scratch, stream));
  const auto columns = static_cast<int64_t>(tables.columns.size());
  return launch(
      add_terms<T>, capped_blocks(columns * tables.items(), kColumnThreads), kColumnThreads, 0,
      stream, reinterpret_cast<const ColumnTerms*>(scratch + layout.columns),
      reinterpret_cast<const Term<T>*>(scratch + layout.terms), columns, tables.picks(),
      reinterpret_cast<const T*>(scratch + layout.sums), tables.items(), tables.cotangents,
      tables.jacobian, tables.jacobian_sample_stride, tables.jacobian_cotangent_stride);
}

}  // namespace vkdnw::cuda
