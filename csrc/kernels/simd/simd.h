// Vectors of a fixed number of numbers, through the vector types of GCC and Clang.
#pragma once

#include <cstdint>

namespace vkdnw {

// The type of values, and the type through which unaligned memory is read and written. (memcpy
// would do, but GCC 12 splits it into halves that go through the stack.)
template <typename T, int64_t kBytes>
struct SimdTypes {
  typedef T Value __attribute__((vector_size(kBytes)));
  typedef T Unaligned __attribute__((vector_size(kBytes), aligned(alignof(T)), may_alias));
};

template <typename T, int64_t kBytes>
using Simd = typename SimdTypes<T, kBytes>::Value;

template <int64_t kBytes, typename T>
inline Simd<T, kBytes> load_simd(const T* source) {
  return *reinterpret_cast<const typename SimdTypes<T, kBytes>::Unaligned*>(source);
}

// A vector of T from as many consecutive numbers of another type.
template <typename T, int64_t kBytes, typename Entry>
inline Simd<T, kBytes> load_converted(const Entry* source) {
  constexpr int64_t kEntryBytes =
      kBytes / static_cast<int64_t>(sizeof(T)) * static_cast<int64_t>(sizeof(Entry));
  return __builtin_convertvector(load_simd<kEntryBytes>(source), Simd<T, kBytes>);
}

template <int64_t kBytes, typename T>
inline void store_simd(T* target, Simd<T, kBytes> value) {
  *reinterpret_cast<typename SimdTypes<T, kBytes>::Unaligned*>(target) = value;
}

// The widest vector of the instruction set that is compiled for.
#if defined(__AVX512F__)
inline constexpr int64_t kNativeBytes = 64;
#elif defined(__AVX__)
inline constexpr int64_t kNativeBytes = 32;
#else
inline constexpr int64_t kNativeBytes = 16;
#endif

}  // namespace vkdnw
