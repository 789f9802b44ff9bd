// Columns of the Jacobian of single scalar parameters, for every selected layer at once.
//
// A scalar of a convolution's weight sees one input channel and one output channel, so its
// derivative for one sample is the inner product of an output-gradient plane with a shifted and
// strided input plane; normalisation weights (the normalised input) and biases (ones) are the
// same product with another factor. Planes are read once per sample into contiguous scratch:
// in channels-last memory their elements lie a cache line apart, and picks share them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/half_types.h"
#include "kernels/lanes.h"

namespace vkdnw {

using Extent3 = std::array<int64_t, 3>;

// A layer's inputs [b, C, X1, X2, X3], or its output gradients [K, b, C, G1, G2, G3].
template <typename Storage>
struct LayerTensor {
  const Storage* data;
  Extent3 extent;
  int64_t cotangent_stride;  // 0 for inputs
  int64_t sample_stride;
  int64_t channel_stride;
  Extent3 stride;

  const Storage* plane(int64_t cotangent, int64_t sample, int64_t channel) const {
    return data + cotangent * cotangent_stride + sample * sample_stride + channel * channel_stride;
  }
  int64_t plane_size() const { return extent[0] * extent[1] * extent[2]; }
};

// One term of one column:  scale * sum_o grad[o] * (input[start + step * o] - shift).
struct Pick {
  static constexpr int64_t kOnes = -1;  // input_channel of a factor that is one everywhere

  int64_t column;
  int64_t layer;
  int64_t grad_channel;
  int64_t input_channel;
  Extent3 start;
  Extent3 step;
  double shift;
  double scale;
};

template <typename Storage>
struct JacobianColumnsProblem {
  int64_t samples;
  int64_t cotangents;
  std::vector<LayerTensor<Storage>> inputs;  // one per layer
  std::vector<LayerTensor<Storage>> grads;   // one per layer
  std::vector<Pick> picks;
  Accumulator<Storage>* jacobian;  // [samples, cotangents, columns], columns contiguous
  int64_t jacobian_sample_stride;
  int64_t jacobian_cotangent_stride;
};

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

// Picks that multiply the same plane of output gradients, as a range of JacobianColumnsPlan::order.
struct PickGroup {
  int64_t layer;
  int64_t grad_channel;
  int64_t first;
  int64_t last;
};

struct JacobianColumnsPlan {
  std::vector<int64_t> order;  // picks, sorted by the plane of output gradients
  std::vector<PickGroup> groups;
  int64_t cotangents_at_once;
  int64_t padded_plane;   // elements of the largest plane, rounded up to whole accumulators
  int64_t work_per_item;  // multiply-adds for one sample and one cotangent
};

namespace jacobian_columns {

// Independent accumulators per inner product: enough to hide the latency of a fused multiply-add.
inline constexpr int64_t kAccumulators = 4;

template <typename T>
inline constexpr int64_t kBlock = kAccumulators * kLaneCount<T>;

// Scratch for gradient planes of the cotangents handled together: what a core's L2 cache holds
// beside the input planes that stream through it.
inline constexpr int64_t kGradientScratchBytes = 256 * 1024;

template <typename Storage>
bool same_tensor(const LayerTensor<Storage>& a, const LayerTensor<Storage>& b) {
  return a.data == b.data && a.extent == b.extent && a.stride == b.stride &&
         a.cotangent_stride == b.cotangent_stride && a.sample_stride == b.sample_stride &&
         a.channel_stride == b.channel_stride;
}

// For every layer the first layer with the very same gradients: a convolution and the folded
// normalisation after it are two layers to the caller and one plane of gradients here.
template <typename Storage>
std::vector<int64_t> first_layer_with_same_grads(const std::vector<LayerTensor<Storage>>& grads) {
  const int64_t layers = static_cast<int64_t>(grads.size());
  std::vector<int64_t> by_address(grads.size());
  std::iota(by_address.begin(), by_address.end(), 0);
  std::stable_sort(by_address.begin(), by_address.end(), [&](int64_t a, int64_t b) {
    return std::less<>{}(grads[a].data, grads[b].data);
  });
  std::vector<int64_t> first(grads.size());
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t layer = by_address[i];
    const int64_t previous = i == 0 ? layer : first[by_address[i - 1]];
    first[layer] = same_tensor(grads[layer], grads[previous]) ? previous : layer;
  }
  return first;
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
  zero_tail(plane, size, round_up(size, kBlock<Accumulator<Storage>>));
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
  zero_tail(plane, size, round_up(size, kBlock<T>));
}

// Inner product of two zero-padded planes; `padded` is a multiple of kBlock<T>.
template <typename T>
T dot(const T* a, const T* b, int64_t padded) {
  Lanes<T> sums[kAccumulators] = {};
  for (int64_t i = 0; i < padded; i += kBlock<T>) {
    for (int64_t s = 0; s < kAccumulators; ++s) {
      const int64_t at = i + s * kLaneCount<T>;
      sums[s] += load_lanes(a + at) * load_lanes(b + at);
    }
  }
  return sum_of_lanes<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <typename T>
T sum(const T* a, int64_t padded) {
  Lanes<T> sums[kAccumulators] = {};
  for (int64_t i = 0; i < padded; i += kBlock<T>) {
    for (int64_t s = 0; s < kAccumulators; ++s) {
      sums[s] += load_lanes(a + i + s * kLaneCount<T>);
    }
  }
  return sum_of_lanes<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace jacobian_columns

template <typename Storage>
JacobianColumnsPlan plan_jacobian_columns(const JacobianColumnsProblem<Storage>& problem) {
  using T = Accumulator<Storage>;
  using namespace jacobian_columns;
  const auto same_grads = first_layer_with_same_grads(problem.grads);
  const auto plane_of = [&](int64_t pick) {
    const Pick& p = problem.picks[pick];
    return std::pair(same_grads[p.layer], p.grad_channel);
  };

  JacobianColumnsPlan plan;
  plan.order.resize(problem.picks.size());
  std::iota(plan.order.begin(), plan.order.end(), 0);
  std::stable_sort(plan.order.begin(), plan.order.end(),
                   [&](int64_t a, int64_t b) { return plane_of(a) < plane_of(b); });

  int64_t largest_plane = 1;
  plan.work_per_item = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(plan.order.size()); ++i) {
    const auto [layer, channel] = plane_of(plan.order[i]);
    const int64_t size = problem.grads[layer].plane_size();
    if (plan.groups.empty() || plan.groups.back().layer != layer ||
        plan.groups.back().grad_channel != channel) {
      plan.groups.push_back({layer, channel, i, i});
      largest_plane = std::max(largest_plane, size);
      plan.work_per_item += size;
    }
    plan.groups.back().last = i + 1;
    plan.work_per_item += size;
  }
  plan.padded_plane = round_up(largest_plane, kBlock<T>);
  plan.cotangents_at_once = std::max<int64_t>(
      1, kGradientScratchBytes / (plan.padded_plane * static_cast<int64_t>(sizeof(T))));
  return plan;
}

// Computes the items [first, last) of the samples * cotangents rows of the Jacobian, counted with
// the cotangent innermost. Every row depends on its own data only, in a fixed order, so any split
// of the items over threads gives the same bits.
template <typename Storage>
class JacobianColumnsWorker {
 public:
  using T = Accumulator<Storage>;

  JacobianColumnsWorker(const JacobianColumnsProblem<Storage>& problem,
                        const JacobianColumnsPlan& plan)
      : problem_(problem),
        plan_(plan),
        at_once_(std::min(plan.cotangents_at_once, problem.cotangents)),
        grads_(at_once_ * plan.padded_plane),
        factor_(plan.padded_plane),
        sums_(at_once_ * static_cast<int64_t>(problem.picks.size())) {}

  void run(int64_t first, int64_t last) {
    for (int64_t item = first; item < last;) {
      const int64_t sample = item / problem_.cotangents;
      const int64_t cotangent = item % problem_.cotangents;
      const int64_t count = std::min({last - item, problem_.cotangents - cotangent, at_once_});
      for (const PickGroup& group : plan_.groups) {
        sum_group(group, sample, cotangent, count);
      }
      add_to_jacobian(sample, cotangent, count);
      item += count;
    }
  }

 private:
  void sum_group(const PickGroup& group, int64_t sample, int64_t cotangent, int64_t count) {
    using namespace jacobian_columns;
    const auto& grad = problem_.grads[group.layer];
    const int64_t padded = round_up(grad.plane_size(), kBlock<T>);
    for (int64_t k = 0; k < count; ++k) {
      gather_grad_plane(grad, cotangent + k, sample, group.grad_channel,
                        grads_.data() + k * padded);
    }
    for (int64_t i = group.first; i < group.last; ++i) {
      const int64_t index = plan_.order[i];
      const Pick& pick = problem_.picks[index];
      const bool ones = pick.input_channel == Pick::kOnes;
      if (!ones) {
        gather_input_plane(problem_.inputs[pick.layer], pick, sample, grad.extent, factor_.data());
      }
      for (int64_t k = 0; k < count; ++k) {
        const T* plane = grads_.data() + k * padded;
        sums_[k * static_cast<int64_t>(problem_.picks.size()) + index] =
            ones ? sum(plane, padded) : dot(plane, factor_.data(), padded);
      }
    }
  }

  // In the order of the picks, so that a column named several times is summed as the caller wrote.
  void add_to_jacobian(int64_t sample, int64_t cotangent, int64_t count) {
    const int64_t picks = static_cast<int64_t>(problem_.picks.size());
    for (int64_t k = 0; k < count; ++k) {
      T* row = problem_.jacobian + sample * problem_.jacobian_sample_stride +
               (cotangent + k) * problem_.jacobian_cotangent_stride;
      for (int64_t i = 0; i < picks; ++i) {
        const Pick& pick = problem_.picks[i];
        row[pick.column] += static_cast<T>(pick.scale) * sums_[k * picks + i];
      }
    }
  }

  const JacobianColumnsProblem<Storage>& problem_;
  const JacobianColumnsPlan& plan_;
  int64_t at_once_;
  AlignedBuffer<T> grads_;   // [at_once, padded plane]
  AlignedBuffer<T> factor_;  // [padded plane]
  AlignedBuffer<T> sums_;    // [at_once, picks]
};

}  // namespace vkdnw
