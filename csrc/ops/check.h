// Argument checks of the ops. They throw std::invalid_argument, which reaches Python as a
// ValueError that carries the message alone (STD_TORCH_CHECK gives a RuntimeError with the path of
// the source file in front).
#pragma once

#include <sstream>
#include <stdexcept>

namespace vkdnw {

template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

template <typename... Parts>
inline void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]] {
    refuse(parts...);
  }
}

}  // namespace vkdnw
