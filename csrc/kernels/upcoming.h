// Memory that will be read soon, fetched into a core's cache a little at a time, while the core
// computes on what is there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace vkdnw {

class Upcoming {
 public:
  static constexpr int64_t kLineBytes = 64;

  void clear() {
    ranges_.clear();
    lines_ = 0;
  }

  // Adds memory behind what was added before.
  void add(const float* data, int64_t count) {
    const char* first = reinterpret_cast<const char*>(data);
    ranges_.push_back({first, first + count * static_cast<int64_t>(sizeof(float))});
    lines_ += count * static_cast<int64_t>(sizeof(float)) / kLineBytes + 1;
  }

  // Spreads it over some calls of fetch().
  void spread(int64_t calls) {
    lines_per_call_ = calls == 0 ? 0 : (lines_ + calls - 1) / calls;
    range_ = 0;
  }

  void fetch() {
    for (int64_t lines = lines_per_call_; lines > 0 && range_ < ranges_.size();) {
      Range& range = ranges_[range_];
      for (; lines > 0 && range.next < range.end; --lines, range.next += kLineBytes) {
        __builtin_prefetch(range.next, 0, 2);
      }
      range_ += range.next >= range.end;
    }
  }

 private:
  struct Range {
    const char* next;
    const char* end;
  };

  std::vector<Range> ranges_;
  std::size_t range_ = 0;
  int64_t lines_ = 0;
  int64_t lines_per_call_ = 0;
};

}  // namespace vkdnw
