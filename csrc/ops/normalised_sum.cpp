#include "ops/normalised_sum.h"

#include <torch/csrc/stable/library.h>

#include "ops/batch_norm.h"
#include "ops/check.h"

namespace vkdnw {

using torch::stable::Tensor;

normalised_sum::Sum checked_sum(const std::vector<Tensor>& maps, const std::vector<Tensor>& factors,
                                const std::vector<int64_t>& pooled) {
  require(!maps.empty() && maps.size() == factors.size(), "maps has ", maps.size(),
          " tensors and factors ", factors.size(), "; there is one of each for every summand");
  const batch_norm::Size size = checked_map_size(maps[0]);
  require(size.pixels > 0, "maps[0] has no pixels; there must be at least one");
  normalised_sum::Sum sum{.samples = size.samples,
                          .height = maps[0].size(2),
                          .width = maps[0].size(3),
                          .channels = size.channels,
                          .summands = {},
                          .result = nullptr,
                          .mask = nullptr};
  for (std::size_t i = 0; i < maps.size(); ++i) {
    require_alike("a tensor of maps", maps[i], "maps[0]", maps[0]);
    sum.summands.push_back({.x = static_cast<const float*>(maps[i].const_data_ptr()),
                            .by = checked_factors(factors[i], size.channels),
                            .pooled = false});
  }
  for (const int64_t place : pooled) {
    require(place >= 0 && place < static_cast<int64_t>(maps.size()), "pooled names map ", place,
            " of ", maps.size());
    require(sum.summands[place].by.scale == nullptr, "map ", place,
            " is pooled and has factors; a map is pooled or normalised");
    sum.summands[place].pooled = true;
  }
  return sum;
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def("normalised_sum(Tensor[] maps, Tensor[] factors, int[] pooled) -> (Tensor, Tensor)");
}

}  // namespace vkdnw
