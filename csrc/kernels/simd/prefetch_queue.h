// Memory that will be read soon, fetched into a core's cache a little at a time while the core
// computes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/simd/prefetch.h"

namespace vkdnw {

class PrefetchQueue {
 public:
  void clear() {
    ranges_.clear();
    floats_ = 0;
  }

  // Appends memory to the queue.
  void add(const float* data, int64_t count) {
    ranges_.push_back({data, data + count});
    floats_ += count;
  }

  // Divides the queue among some calls of fetch(), by whole cache lines.
  void spread(int64_t calls) {
    const int64_t share = calls == 0 ? 0 : (floats_ + calls - 1) / calls;
    floats_per_call_ = (share + kCacheLine - 1) / kCacheLine * kCacheLine;
    range_ = 0;
  }

  void fetch() {
    for (int64_t wanted = floats_per_call_; wanted > 0 && range_ < ranges_.size();) {
      Range& range = ranges_[range_];
      const int64_t count = std::min(wanted, static_cast<int64_t>(range.end - range.next));
      prefetch(range.next, count);
      range.next += count;
      wanted -= count;
      range_ += range.next == range.end;
    }
  }

 private:
  struct Range {
    const float* next;
    const float* end;
  };

  std::vector<Range> ranges_;
  std::size_t range_ = 0;
  int64_t floats_ = 0;
  int64_t floats_per_call_ = 0;
};

}  // namespace vkdnw
