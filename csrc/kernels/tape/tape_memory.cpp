#include "kernels/tape/tape_memory.h"

#include <algorithm>
#include <map>

#include "kernels/conv/winograd3x3.h"

namespace vkdnw::tape {

int64_t shared_blocks(const Value& value, int64_t samples) {
  const int64_t tiles = samples * ((value.height + winograd::kTile - 1) / winograd::kTile) *
                        ((value.width + winograd::kTile - 1) / winograd::kTile);
  return (tiles + winograd::kMostTiles - 1) / winograd::kMostTiles;
}

namespace {

// Floats of the transformed patches of a piece's gradients.
int64_t shared_patches_size(const Value& value, int64_t piece) {
  return shared_blocks(value, piece) * winograd::patches_size(winograd::kMostTiles, value.channels);
}

// Lays out memory in floats. Memory that is given back is reused for requests of the same size.
class Arena {
 public:
  int64_t take(int64_t size) {
    std::vector<int64_t>& offsets = free_[size];
    if (offsets.empty()) {
      size_ += size;
      return size_ - size;
    }
    const int64_t offset = offsets.back();
    offsets.pop_back();
    return offset;
  }

  void give_back(int64_t offset, int64_t size) { free_[size].push_back(offset); }

  int64_t size() const { return size_; }

 private:
  std::map<int64_t, std::vector<int64_t>> free_;
  int64_t size_ = 0;
};

// Writes the offsets and the sizes of the memory of each segment.
class Layout {
 public:
  Layout(const Tape& tape, Plan& plan) : tape_(tape), plan_(plan), uses_(tape.values.size()) {}

  void run() {
    find_uses();
    for (int64_t segment = 0; segment < static_cast<int64_t>(plan_.segments.size()); ++segment) {
      lay_out(segment);
      lay_out_signs(segment);
    }
  }

 private:
  // Steps that read a value.
  struct Uses {
    int64_t last = -1;
    int64_t last_conv3x3 = -1;
    int64_t conv3x3 = 0;
    bool one_segment = true;  // all conv3x3 steps are in one segment
  };

  void find_uses() {
    for (const Segment& segment : plan_.segments) {
      for (int64_t i = segment.first; i < segment.last; ++i) {
        for (int64_t term = plan_.steps[i].first; term < plan_.steps[i].last; ++term) {
          Uses& uses = uses_[tape_.terms[term].source];
          uses.last = i;
          if (shares_patches(tape_.terms[term])) {
            uses.one_segment =
                uses.conv3x3 == 0 || (uses.one_segment && uses.last_conv3x3 >= segment.first);
            uses.last_conv3x3 = i;
            ++uses.conv3x3;
          }
        }
      }
    }
  }

  void lay_out(int64_t number) {
    Segment& segment = plan_.segments[number];
    Arena gradients;
    Arena patches;
    for (int64_t i = segment.first; i < segment.last; ++i) {
      const Step& step = plan_.steps[i];
      BufferSlot& slot = plan_.slots[destination(i)];
      if (!step.add) {
        slot.in_scratch = slot.last_segment == number;
        slot.offset = slot.in_scratch ? gradients.take(tape_.values[destination(i)].floats()) : 0;
      }
      segment.normed = std::max(segment.normed, normed_floats(step));
      for (int64_t term = step.first; term < step.last; ++term) {
        take_patches(tape_.terms[term], segment.piece, patches);
      }
      for (int64_t term = step.first; term < step.last; ++term) {
        give_back(tape_.terms[term], i, number, segment.piece, gradients, patches);
      }
      if (step.complete && slot.in_scratch && uses_[destination(i)].last < 0) {
        gradients.give_back(slot.offset, tape_.values[destination(i)].floats());
      }
    }
    segment.scratch = gradients.size();
    segment.patches = patches.size();
  }

  // Unpacked signs lie behind the gradients in the scratch memory.
  void lay_out_signs(int64_t number) {
    Segment& segment = plan_.segments[number];
    segment.signs.assign(tape_.cotangents.size(), kNone);
    const auto read = [&](int64_t value) {
      if (value < static_cast<int64_t>(tape_.cotangents.size()) &&
          tape_.cotangents[value].signs != nullptr && segment.signs[value] == kNone) {
        segment.signs[value] = segment.scratch;
        segment.scratch += tape_.values[value].floats();
      }
    };
    const int64_t first = plan_.steps[segment.first].first;
    const int64_t last = plan_.steps[segment.last - 1].last;
    for (int64_t term = first; term < last; ++term) {
      read(tape_.terms[term].source);
    }
    for (const SharedNormSums& sum : plan_.sums[number]) {
      read(tape_.terms[sum.first].source);
      if (sum.second != kNone) {
        read(tape_.terms[sum.second].source);
      }
    }
    for (const Product& product : tape_.products) {
      if (product.value >= tape_.terms[first].destination &&
          product.value <= tape_.terms[last - 1].destination) {
        read(product.cotangent);
      }
    }
  }

  // Floats per sample of the gradients that a step reads behind BatchNorms.
  int64_t normed_floats(const Step& step) const {
    int64_t floats = 0;
    for (int64_t term = step.first; term < step.last; ++term) {
      floats += tape_.terms[term].is_normed() ? tape_.values[tape_.terms[term].source].floats() : 0;
    }
    return floats;
  }

  // Whether a term transforms the gradient of its source as it is.
  static bool shares_patches(const Term& term) {
    return term.layer == Layer::kConv3x3 && !term.is_normed();
  }

  // At the first of several steps that transform one gradient.
  void take_patches(const Term& term, int64_t piece, Arena& patches) {
    const Uses& uses = uses_[term.source];
    const Value& value = tape_.values[term.source];
    BufferSlot& slot = plan_.slots[term.source];
    if (shares_patches(term) && slot.patches == kNone && uses.conv3x3 > 1 && uses.one_segment &&
        value.channels <= kNarrowChannels) {
      slot.patches = patches.take(shared_patches_size(value, piece));
    }
  }

  // Gives back the memory that step i reads for the last time; a source may occur twice in a step.
  void give_back(const Term& term, int64_t i, int64_t segment, int64_t piece, Arena& gradients,
                 Arena& patches) {
    Uses& uses = uses_[term.source];
    const BufferSlot& slot = plan_.slots[term.source];
    const Value& value = tape_.values[term.source];
    if (uses.last == i && slot.in_scratch && slot.first_segment == segment) {
      gradients.give_back(slot.offset, value.floats());
      uses.last = kGivenBack;
    }
    if (uses.last_conv3x3 == i && slot.patches != kNone) {
      patches.give_back(slot.patches, shared_patches_size(value, piece));
      uses.last_conv3x3 = kGivenBack;
    }
  }

  int64_t destination(int64_t step) const {
    return tape_.terms[plan_.steps[step].first].destination;
  }

  static constexpr int64_t kGivenBack = -2;

  const Tape& tape_;
  Plan& plan_;
  std::vector<Uses> uses_;  // by value
};

}  // namespace

void lay_out_memory(const Tape& tape, Plan& plan) { Layout(tape, plan).run(); }

}  // namespace vkdnw::tape
