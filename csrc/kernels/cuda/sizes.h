// Numbers that launchers and their callers share; no CUDA.
#pragma once

#include <cstdint>

namespace vkdnw::cuda {

inline constexpr int kWarp = 32;

inline constexpr int64_t blocks_for(int64_t items, int64_t per_block) {
  return (items + per_block - 1) / per_block;
}

}  // namespace vkdnw::cuda
