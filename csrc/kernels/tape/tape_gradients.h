// The gradients of a tape that live longer than a segment, for all samples.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/simd/aligned_buffer.h"
#include "kernels/tape/tape.h"
#include "kernels/tape/tape_plan.h"

namespace vkdnw::tape {

// Gradients for all samples, from the segment that computes them to the last one that reads them.
class Gradients {
 public:
  Gradients(const Tape& tape, const Plan& plan)
      : tape_(tape), plan_(plan), memory_(tape.values.size()) {}

  void begin(int64_t segment) {
    for (std::size_t value = tape_.cotangents.size(); value < memory_.size(); ++value) {
      const BufferSlot& slot = plan_.slots[value];
      if (!slot.in_scratch && slot.first_segment == segment) {
        memory_[value] = take(tape_.samples * tape_.values[value].floats());
      }
    }
  }

  void end(int64_t segment) {
    for (std::size_t value = tape_.cotangents.size(); value < memory_.size(); ++value) {
      if (memory_[value] != nullptr && plan_.slots[value].last_segment == segment) {
        free_[tape_.samples * tape_.values[value].floats()].push_back(std::move(memory_[value]));
      }
    }
  }

  float* data(int64_t value) const { return memory_[value]->data(); }

 private:
  using Memory = std::unique_ptr<AlignedBuffer<float>>;

  // Reuses memory: its pages are mapped, and its end may still be in a cache.
  Memory take(int64_t count) {
    std::vector<Memory>& known = free_[count];
    if (known.empty()) {
      return std::make_unique<AlignedBuffer<float>>(count);
    }
    Memory memory = std::move(known.back());
    known.pop_back();
    return memory;
  }

  const Tape& tape_;
  const Plan& plan_;
  std::vector<Memory> memory_;                   // by value
  std::map<int64_t, std::vector<Memory>> free_;  // by floats
};

}  // namespace vkdnw::tape
