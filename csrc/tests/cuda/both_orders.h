// Runs a computation with blocks and warps in either order.
#pragma once

#include <cuda_runtime.h>

#include <utility>

namespace vkdnw::cuda {

template <typename Compute>
auto in_order(bool last_first, Compute&& compute) {
  cuda_shim::device().last_first = last_first;
  auto result = compute();
  cuda_shim::device().last_first = false;
  return result;
}

// Whether no order of blocks or warps changes a bit of the result of `compute`, a vector.
template <typename Compute>
bool same_in_both_orders(Compute&& compute) {
  return in_order(false, compute) == in_order(true, compute);
}

}  // namespace vkdnw::cuda
