// The order in which picks are computed: those that share a plane of gradients together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/conv/plane_products.h"
#include "kernels/fisher/jacobian_columns_problem.h"

namespace vkdnw {

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

// Scratch for gradient planes of the cotangents handled together: it fits into a core's L2 cache
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
  plan.padded_plane = round_up(largest_plane, kPlaneBlock<T>);
  plan.cotangents_at_once = std::max<int64_t>(
      1, kGradientScratchBytes / (plan.padded_plane * static_cast<int64_t>(sizeof(T))));
  return plan;
}

}  // namespace vkdnw
