// Asking for memory before it is needed, where the hardware does not: it follows rows of numbers,
// but not from page to page, nor past a computation.
#pragma once

#include <cstdint>

namespace vkdnw {

inline constexpr int64_t kCacheLine = 16;  // floats

// Brings floats into level 2. The range may end behind the allocated memory.
inline void prefetch(const float* first, int64_t count) {
  for (int64_t i = 0; i < count; i += kCacheLine) {
    __builtin_prefetch(first + i, 0, 2);
  }
}

}  // namespace vkdnw
