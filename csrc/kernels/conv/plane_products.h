// Planes of layer tensors, gathered into contiguous scratch, and their inner products.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/fisher/jacobian_columns_problem.h"
#include "kernels/simd/aligned_buffer.h"
#include "kernels/simd/half_types.h"
#include "kernels/simd/lanes.h"

namespace vkdnw {

// Independent accumulators per inner product: enough to hide the latency of a fused multiply-add.
inline constexpr int64_t kPlaneAccumulators = 4;

template <typename T>
inline constexpr int64_t kPlaneBlock = kPlaneAccumulators * kLaneCount<T>;

// Output positions [first, last) along one dimension whose input position is inside the input.
struct InsideRange {
  int64_t first;
  int64_t last;
};

inline InsideRange inside_range(int64_t start, int64_t step, int64_t input, int64_t output) {
  const int64_t first = start < 0 ? (-start + step - 1) / step : 0;
  const int64_t last = start < input ? std::min(output, (input - 1 - start) / step + 1) : 0;
  return {std::min(first, last), last};
}

// target[0..count) = source[0], source[stride], ...
template <typename Storage>
void gather_row(const Storage* source, int64_t stride, int64_t count, Accumulator<Storage> shift,
                Accumulator<Storage>* target) {
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) {
      target[i] = widen(source[i]) - shift;
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      target[i] = widen(source[i * stride]) - shift;
    }
  }
}

template <typename T>
void zero_tail(T* plane, int64_t size, int64_t padded) {
  std::fill(plane + size, plane + padded, T(0));
}

// A plane of output gradients in row-major order, then zeros up to a whole block.
template <typename Storage>
void gather_grad_plane(const LayerTensor<Storage>& grad, int64_t cotangent, int64_t sample,
                       int64_t channel, Accumulator<Storage>* plane) {
  const Storage* source = grad.plane(cotangent, sample, channel);
  const auto& [d1, d2, d3] = grad.extent;
  auto* row = plane;
  for (int64_t o1 = 0; o1 < d1; ++o1) {
    for (int64_t o2 = 0; o2 < d2; ++o2, row += d3) {
      gather_row<Storage>(source + o1 * grad.stride[0] + o2 * grad.stride[1], grad.stride[2], d3, 0,
                          row);
    }
  }
  const int64_t size = grad.plane_size();
  zero_tail(plane, size, round_up(size, kPlaneBlock<Accumulator<Storage>>));
}

// The factor of each output position, laid out as the plane of output gradients is: the input
// element that the picked weight multiplies there, less the shift, and zero in the padding.
template <typename Storage>
void gather_input_plane(const LayerTensor<Storage>& input, const Pick& pick, int64_t sample,
                        const Extent3& output, Accumulator<Storage>* plane) {
  using T = Accumulator<Storage>;
  std::array<InsideRange, 3> inside;
  for (int d = 0; d < 3; ++d) {
    inside[d] = inside_range(pick.start[d], pick.step[d], input.extent[d], output[d]);
  }
  const int64_t row_first = inside[2].first;
  const int64_t row_last = inside[2].last;
  const Storage* source = input.plane(0, sample, pick.input_channel);
  T* row = plane;
  for (int64_t o1 = 0; o1 < output[0]; ++o1) {
    const bool inside1 = o1 >= inside[0].first && o1 < inside[0].last;
    for (int64_t o2 = 0; o2 < output[1]; ++o2, row += output[2]) {
      if (!inside1 || o2 < inside[1].first || o2 >= inside[1].last) {
        std::fill(row, row + output[2], T(0));
        continue;
      }
      const int64_t offset = (pick.start[0] + pick.step[0] * o1) * input.stride[0] +
                             (pick.start[1] + pick.step[1] * o2) * input.stride[1] +
                             (pick.start[2] + pick.step[2] * row_first) * input.stride[2];
      std::fill(row, row + row_first, T(0));
      gather_row<Storage>(source + offset, pick.step[2] * input.stride[2], row_last - row_first,
                          static_cast<T>(pick.shift), row + row_first);
      std::fill(row + row_last, row + output[2], T(0));
    }
  }
  const int64_t size = output[0] * output[1] * output[2];
  zero_tail(plane, size, round_up(size, kPlaneBlock<T>));
}

// Inner product of two zero-padded planes; `padded` is a multiple of kPlaneBlock<T>.
template <typename T>
T plane_product(const T* a, const T* b, int64_t padded) {
  Lanes<T> sums[kPlaneAccumulators] = {};
  for (int64_t i = 0; i < padded; i += kPlaneBlock<T>) {
    for (int64_t s = 0; s < kPlaneAccumulators; ++s) {
      const int64_t at = i + s * kLaneCount<T>;
      sums[s] += load_lanes(a + at) * load_lanes(b + at);
    }
  }
  return sum_of_lanes<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <typename T>
T plane_sum(const T* a, int64_t padded) {
  Lanes<T> sums[kPlaneAccumulators] = {};
  for (int64_t i = 0; i < padded; i += kPlaneBlock<T>) {
    for (int64_t s = 0; s < kPlaneAccumulators; ++s) {
      sums[s] += load_lanes(a + i + s * kLaneCount<T>);
    }
  }
  return sum_of_lanes<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace vkdnw
