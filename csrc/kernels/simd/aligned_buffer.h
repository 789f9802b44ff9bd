// Scratch memory of trivially copyable numbers, aligned for Lanes and not initialised.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#include "kernels/simd/lanes.h"

namespace vkdnw {

template <typename T>
class AlignedBuffer {
 public:
  explicit AlignedBuffer(int64_t count)
      : data_(static_cast<T*>(
            ::operator new(static_cast<std::size_t>(count) * sizeof(T), kAlignment))) {}

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](int64_t index) { return data_.get()[index]; }
  const T& operator[](int64_t index) const { return data_.get()[index]; }

 private:
  static constexpr std::align_val_t kAlignment{kLaneBytes};
  struct Release {
    void operator()(T* data) const { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<T, Release> data_;
};

// The smallest multiple of `step` that is not below `count`.
inline constexpr int64_t round_up(int64_t count, int64_t step) {
  return (count + step - 1) / step * step;
}

}  // namespace vkdnw
