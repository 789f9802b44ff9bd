// Tables by which one launch finds the planes of all layers: device pointers and strides, laid out
// on the host and copied in one piece.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/simd/half_types.h"

namespace vkdnw {
struct JacobianColumnsPlan;
template <typename Storage>
struct JacobianColumnsProblem;
}  // namespace vkdnw

namespace vkdnw::cuda {

inline constexpr int64_t kVectorBytes = 16;

template <typename Storage>
inline constexpr int64_t kVectorLength = kVectorBytes / static_cast<int64_t>(sizeof(Storage));

// Within a plane, positions and offsets take 32 bits: registers limit the loads in flight.
//
// Output gradients of one channel, and the picks that multiply them: [first_pick, last_pick).
template <typename Storage>
struct GradPlane {
  const Storage* data;  // of cotangent 0 and sample 0
  int64_t cotangent_stride;
  int64_t sample_stride;
  int32_t stride[3];
  uint32_t extent[3];
  uint32_t size;
  int64_t first_pick;
  int64_t last_pick;
  bool vectors;  // rows are whole, aligned, contiguous vectors of kVectorLength
};

// The input plane of one pick in terms of output positions: o reads data[stride * o] where
// o - first < count in every dimension, and nothing elsewhere.
template <typename Storage>
struct InputPlane {
  const Storage* data;  // nullptr: a factor of ones
  int64_t offset;       // of output position 0; may point outside of the plane
  int64_t sample_stride;
  int32_t stride[3];
  uint32_t first[3];
  uint32_t count[3];
  Accumulator<Storage> shift;
};

// Terms [first, last) make up one column of the Jacobian.
struct ColumnTerms {
  int64_t column;
  int64_t first;
  int64_t last;
};

template <typename T>
struct Term {
  int64_t pick;  // its place in the order of the sums
  T scale;
};

// All of a call. Addresses inside are the device's.
template <typename Storage>
struct JacobianColumnsTables {
  using T = Accumulator<Storage>;

  int64_t samples;
  int64_t cotangents;
  T* jacobian;
  int64_t jacobian_sample_stride;
  int64_t jacobian_cotangent_stride;
  uint32_t largest_plane;
  std::vector<GradPlane<Storage>> grads;
  std::vector<InputPlane<Storage>> inputs;
  std::vector<ColumnTerms> columns;
  std::vector<Term<T>> terms;

  int64_t items() const { return samples * cotangents; }
  int64_t picks() const { return static_cast<int64_t>(inputs.size()); }
  bool nothing_to_do() const { return items() == 0 || picks() == 0; }
};

// Where the tables and the sums lie in one piece of device memory.
struct ScratchLayout {
  int64_t inputs;
  int64_t columns;
  int64_t terms;
  int64_t sums;
  int64_t bytes;
};

template <typename Storage>
ScratchLayout scratch_layout(const JacobianColumnsTables<Storage>& tables) {
  ScratchLayout layout{};
  int64_t at = 0;
  const auto place = [&at](auto count, size_t size) {
    const int64_t begin = at;
    const int64_t bytes = static_cast<int64_t>(count) * static_cast<int64_t>(size);
    at += (bytes + kVectorBytes - 1) / kVectorBytes * kVectorBytes;
    return begin;
  };
  place(tables.grads.size(), sizeof(tables.grads[0]));
  layout.inputs = place(tables.inputs.size(), sizeof(tables.inputs[0]));
  layout.columns = place(tables.columns.size(), sizeof(tables.columns[0]));
  layout.terms = place(tables.terms.size(), sizeof(tables.terms[0]));
  layout.sums = place(tables.items() * tables.picks(), sizeof(Accumulator<Storage>));
  layout.bytes = at;
  return layout;
}

// The tables in the order of the layout, up to the sums.
template <typename Storage>
std::vector<unsigned char> packed(const JacobianColumnsTables<Storage>& tables,
                                  const ScratchLayout& layout) {
  std::vector<unsigned char> bytes(static_cast<size_t>(layout.sums));
  const auto put = [&bytes](const auto& table, int64_t at) {
    std::memcpy(bytes.data() + at, table.data(), table.size() * sizeof(table[0]));
  };
  put(tables.grads, 0);
  put(tables.inputs, layout.inputs);
  put(tables.columns, layout.columns);
  put(tables.terms, layout.terms);
  return bytes;
}

}  // namespace vkdnw::cuda
