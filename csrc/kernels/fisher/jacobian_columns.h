// Columns of the Jacobian of single scalar parameters, for every selected layer at once.
//
// A scalar of a convolution's weight sees one input channel and one output channel, so its
// derivative for one sample is the inner product of an output-gradient plane with a shifted and
// strided input plane; normalisation weights (the normalised input) and biases (ones) are the
// same product with another factor. Planes are read once per sample into contiguous scratch:
// in channels-last memory their elements lie a cache line apart, and picks share them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/conv/plane_products.h"
#include "kernels/fisher/jacobian_columns_plan.h"
#include "kernels/fisher/jacobian_columns_problem.h"
#include "kernels/simd/aligned_buffer.h"

namespace vkdnw {

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
    const auto& grad = problem_.grads[group.layer];
    const int64_t padded = round_up(grad.plane_size(), kPlaneBlock<T>);
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
            ones ? plane_sum(plane, padded) : plane_product(plane, factor_.data(), padded);
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
