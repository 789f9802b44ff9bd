// From a problem and its plan, on the host, to the tables that the kernels read.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>

#include "kernels/conv/plane_products.h"
#include "kernels/cuda/jacobian_columns_tables.h"
#include "kernels/fisher/jacobian_columns_plan.h"
#include "kernels/fisher/jacobian_columns_problem.h"

namespace vkdnw::cuda {

// Throws std::invalid_argument where positions or offsets within a plane take more than 31 bits.
inline void require_small_plane(const char* list, const Extent3& extent, const Extent3& stride) {
  constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();
  const int64_t positions = extent[0] * extent[1] * extent[2];
  int64_t span = 0;
  for (int d = 0; d < 3; ++d) {
    span += extent[d] > 1 ? (extent[d] - 1) * std::abs(stride[d]) : 0;
  }
  if (positions > kLimit || span > kLimit) {
    throw std::invalid_argument(std::string(list) + " has planes of " + std::to_string(positions) +
                                " positions over " + std::to_string(span) +
                                " elements; on CUDA both must stay below 2^31");
  }
}

template <typename Storage>
bool in_whole_vectors(const LayerTensor<Storage>& grad, const Storage* plane) {
  constexpr int64_t kLength = kVectorLength<Storage>;
  const auto whole = [](int64_t count) { return count % kLength == 0; };
  return grad.stride[2] == 1 && whole(grad.extent[2]) && whole(grad.stride[0]) &&
         whole(grad.stride[1]) && whole(grad.sample_stride) && whole(grad.cotangent_stride) &&
         reinterpret_cast<uintptr_t>(plane) % kVectorBytes == 0;
}

template <typename Storage>
GradPlane<Storage> grad_plane(const LayerTensor<Storage>& grad, const PickGroup& group) {
  require_small_plane("grads", grad.extent, grad.stride);
  GradPlane<Storage> plane{};
  plane.data = grad.plane(0, 0, group.grad_channel);
  plane.cotangent_stride = grad.cotangent_stride;
  plane.sample_stride = grad.sample_stride;
  plane.size = static_cast<uint32_t>(grad.plane_size());
  plane.first_pick = group.first;
  plane.last_pick = group.last;
  plane.vectors = in_whole_vectors(grad, plane.data);
  for (int d = 0; d < 3; ++d) {
    plane.stride[d] = grad.extent[d] > 1 ? static_cast<int32_t>(grad.stride[d]) : 0;
    plane.extent[d] = static_cast<uint32_t>(grad.extent[d]);
  }
  return plane;
}

template <typename Storage>
InputPlane<Storage> input_plane(const LayerTensor<Storage>& input, const Pick& pick,
                                const GradPlane<Storage>& grad) {
  InputPlane<Storage> plane{};
  if (pick.input_channel == Pick::kOnes) {
    return plane;
  }
  require_small_plane("inputs", input.extent, input.stride);
  plane.data = input.plane(0, 0, pick.input_channel);
  plane.sample_stride = input.sample_stride;
  plane.shift = static_cast<Accumulator<Storage>>(pick.shift);
  for (int d = 0; d < 3; ++d) {
    const InsideRange inside =
        inside_range(pick.start[d], pick.step[d], input.extent[d], grad.extent[d]);
    plane.first[d] = static_cast<uint32_t>(inside.first);
    plane.count[d] = static_cast<uint32_t>(inside.last - inside.first);
    // A dimension with one position inside, or none, needs no stride; a product might overflow.
    const bool moves = plane.count[d] > 1;
    plane.stride[d] = moves ? static_cast<int32_t>(input.stride[d] * pick.step[d]) : 0;
    plane.offset += moves ? input.stride[d] * pick.start[d]
                          : input.stride[d] * (pick.start[d] + pick.step[d] * inside.first);
  }
  return plane;
}

// Terms of one column in the order of the picks, so that they add up as the caller wrote.
template <typename Storage>
void append_columns(const JacobianColumnsProblem<Storage>& problem, const JacobianColumnsPlan& plan,
                    JacobianColumnsTables<Storage>& tables) {
  using T = Accumulator<Storage>;
  std::vector<int64_t> place(plan.order.size());
  for (size_t i = 0; i < plan.order.size(); ++i) {
    place[plan.order[i]] = static_cast<int64_t>(i);
  }
  std::vector<int64_t> by_column(plan.order.size());
  std::iota(by_column.begin(), by_column.end(), 0);
  std::stable_sort(by_column.begin(), by_column.end(), [&](int64_t a, int64_t b) {
    return problem.picks[a].column < problem.picks[b].column;
  });
  for (const int64_t pick : by_column) {
    const int64_t column = problem.picks[pick].column;
    const auto count = static_cast<int64_t>(tables.terms.size());
    if (tables.columns.empty() || tables.columns.back().column != column) {
      tables.columns.push_back({column, count, count});
    }
    ++tables.columns.back().last;
    tables.terms.push_back({place[pick], static_cast<T>(problem.picks[pick].scale)});
  }
}

template <typename Storage>
JacobianColumnsTables<Storage> gather_tables(const JacobianColumnsProblem<Storage>& problem,
                                             const JacobianColumnsPlan& plan) {
  JacobianColumnsTables<Storage> tables{
      .samples = problem.samples,
      .cotangents = problem.cotangents,
      .jacobian = problem.jacobian,
      .jacobian_sample_stride = problem.jacobian_sample_stride,
      .jacobian_cotangent_stride = problem.jacobian_cotangent_stride,
      .largest_plane = 0,
      .grads = {},
      .inputs = {},
      .columns = {},
      .terms = {}};
  for (const PickGroup& group : plan.groups) {
    tables.grads.push_back(grad_plane(problem.grads[group.layer], group));
    const GradPlane<Storage>& grad = tables.grads.back();
    tables.largest_plane = std::max(tables.largest_plane, grad.size);
    for (int64_t i = group.first; i < group.last; ++i) {
      const Pick& pick = problem.picks[plan.order[i]];
      tables.inputs.push_back(input_plane(problem.inputs[pick.layer], pick, grad));
    }
  }
  append_columns(problem, plan, tables);
  return tables;
}

}  // namespace vkdnw::cuda
