// A bit mask as kernels/layers/relu_mask.h describes it, one number after the other.
#pragma once

#include <cstdint>
#include <vector>

namespace vkdnw::tests {

inline std::vector<uint8_t> packed_mask(const std::vector<float>& numbers) {
  std::vector<uint8_t> mask((numbers.size() + 7) / 8);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    mask[i / 8] |= static_cast<uint8_t>(numbers[i] <= 0 ? 0 : 1 << (i % 8));
  }
  return mask;
}

}  // namespace vkdnw::tests
