// How a tape is gone through: in which pieces, and where the gradients lie.
//
// Samples are taken through the tape in pieces whose feature maps stay in the cache of a core.
// Small maps are cheap to keep, and large weights dear to fetch, so pieces grow where maps shrink:
// the tape is cut into segments of steps whose maps have one height and width. Gradients that are
// needed in one segment only live in scratch memory of one piece, the others in memory for all
// samples. What a BatchNorm sends back is known when its sums are, so a segment also ends before a
// value whose terms pass one, if the gradient that they pass it with is computed there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "kernels/conv/winograd3x3.h"
#include "kernels/tape/tape.h"

namespace vkdnw::tape {

// Terms of one destination that one kernel sums up: the same layer, and the same mask.
struct Step {
  int64_t first;  // term
  int64_t last;
  bool add;       // to what earlier steps of the destination left
  bool complete;  // whether this was the destination's last one
};

struct Segment {
  int64_t first;  // step
  int64_t last;
  int64_t piece;               // samples taken together
  int64_t scratch;             // numbers a sample, of gradients that no other segment reads
  int64_t patches;             // numbers a piece, of transformed patches that several steps read
  int64_t normed;              // numbers a sample, of what BatchNorms send to the layers of a step
  std::vector<int64_t> signs;  // by seed: numbers a sample, from the start of the scratch memory,
                               // at which signs are written down if they are read; or kNone
};

// Where a gradient lies while the tape runs.
struct BufferSlot {
  bool in_scratch = false;
  int64_t offset = 0;         // numbers a sample, from the start of the scratch memory
  int64_t patches = -1;       // numbers, of its transformed patches for one piece; -1 for none
  int64_t first_segment = 0;  // the one that computes it
  int64_t last_segment = 0;   // the last one that reads it
};

// Terms whose BatchNorms are one, and take their sums together: fetching what it read costs more
// than multiplying it.
struct SharedNormSums {
  int64_t first;
  int64_t second;  // or kNone
};

struct Plan {
  std::vector<Step> steps;
  std::vector<Segment> segments;
  std::vector<BufferSlot> slots;  // by value; those of seeds say nothing but the patches
  std::vector<std::vector<SharedNormSums>> sums;  // by segment: whose sums are taken in it
  std::vector<SharedNormSums> first_sums;  // those of seeds that are taken before the first segment
};

// Of one feature map for all samples of a piece: about five of them and some patches fill a cache
// of level 2.
inline constexpr int64_t kPieceNumbers = 48 * 1024;

// With BatchNorms, which read as much again, and whose gradients pass through memory anyway.
inline constexpr int64_t kNormedPieceNumbers = 16 * 1024;

// Weights of wider 3x3 convolutions outgrow what transforms cost. Pieces are twice as large then,
// so that weights are fetched half as often; the gradients' patches are not kept for other
// convolutions; and sums are taken one convolution at a time, whose weights fit the cache.
inline constexpr int64_t kNarrowChannels = 32;

// Blocks of tiles of some samples of a value.
inline int64_t shared_blocks(const Value& value, int64_t samples) {
  const int64_t tiles = samples * ((value.height + winograd::kTile - 1) / winograd::kTile) *
                        ((value.width + winograd::kTile - 1) / winograd::kTile);
  return (tiles + winograd::kMostTiles - 1) / winograd::kMostTiles;
}

// Numbers of the transformed patches of a piece's gradients.
inline int64_t shared_patches_size(const Value& value, int64_t piece) {
  return shared_blocks(value, piece) * winograd::patches_size(winograd::kMostTiles, value.channels);
}

// Memory of one segment, in numbers; what is given back is taken again by what has the same size.
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

class Planner {
 public:
  explicit Planner(const Tape& tape) : tape_(tape), uses_(tape.values.size()) {
    plan_.slots.resize(tape.values.size());
  }

  Plan plan() {
    make_steps();
    make_segments();
    find_uses();
    place_sums();
    for (int64_t segment = 0; segment < static_cast<int64_t>(plan_.segments.size()); ++segment) {
      lay_out(segment);
      lay_out_signs(segment);
    }
    return plan_;
  }

 private:
  // Steps that read a value.
  struct Uses {
    int64_t last = -1;
    int64_t last_conv3x3 = -1;
    int64_t conv3x3 = 0;
    bool one_segment = true;  // all conv3x3 steps are in one segment
  };

  bool together(const Term& a, const Term& b) const {
    const bool sums =
        a.layer == Layer::kConv1x1 ||
        (a.layer == Layer::kConv3x3 && tape_.values[a.destination].channels <= kNarrowChannels);
    return sums && a.layer == b.layer && a.destination == b.destination && a.mask == b.mask;
  }

  void make_steps() {
    const std::vector<Term>& terms = tape_.terms;
    for (int64_t i = 0; i < static_cast<int64_t>(terms.size()); ++i) {
      if (i > 0 && together(terms[i - 1], terms[i])) {
        plan_.steps.back().last = i + 1;
        continue;
      }
      const bool add = i > 0 && terms[i - 1].destination == terms[i].destination;
      if (add) {
        plan_.steps.back().complete = false;
      }
      plan_.steps.push_back({.first = i, .last = i + 1, .add = add, .complete = true});
    }
  }

  // By destination: samples whose largest map among it and its sources fits the cache.
  std::vector<int64_t> pieces() const {
    std::vector<int64_t> largest(tape_.values.size(), 1);
    for (const Term& term : tape_.terms) {
      for (const int64_t value : {term.source, term.destination}) {
        largest[term.destination] =
            std::max(largest[term.destination], tape_.values[value].numbers());
      }
    }
    const int64_t numbers = tape_.norms.empty() ? kPieceNumbers : kNormedPieceNumbers;
    std::vector<int64_t> pieces;
    for (std::size_t value = 0; value < largest.size(); ++value) {
      const bool narrow = tape_.values[value].channels <= kNarrowChannels;
      const int64_t fitting = numbers * (narrow ? 1 : 2) / largest[value];
      pieces.push_back(std::clamp<int64_t>(fitting, 1, std::max<int64_t>(1, tape_.samples)));
    }
    return pieces;
  }

  bool same_size(int64_t step, int64_t other) const {
    const Value& a = tape_.values[destination(step)];
    const Value& b = tape_.values[destination(other)];
    return a.height == b.height && a.width == b.width;
  }

  void make_segments() {
    const std::vector<int64_t> piece = pieces();
    for (int64_t i = 0; i < static_cast<int64_t>(plan_.steps.size()); ++i) {
      if (plan_.segments.empty() || !same_size(plan_.segments.back().first, i) || awaits_sums(i)) {
        plan_.segments.push_back({.first = i,
                                  .last = i,
                                  .piece = piece[destination(i)],
                                  .scratch = 0,
                                  .patches = 0,
                                  .normed = 0,
                                  .signs = {}});
      }
      Segment& segment = plan_.segments.back();
      segment.last = i + 1;
      segment.piece = std::min(segment.piece, piece[destination(i)]);
      BufferSlot& slot = plan_.slots[destination(i)];
      slot.first_segment = static_cast<int64_t>(plan_.segments.size()) - 1;
      for (int64_t term = plan_.steps[i].first; term < plan_.steps[i].last; ++term) {
        plan_.slots[tape_.terms[term].source].last_segment = slot.first_segment;
      }
      slot.last_segment = slot.first_segment;
    }
  }

  // Whether a step begins a value that takes sums over gradients of the segment at hand.
  bool awaits_sums(int64_t step) const {
    if (plan_.steps[step].add) {
      return false;
    }
    const int64_t seeds = static_cast<int64_t>(tape_.seeds.size());
    const int64_t segment = static_cast<int64_t>(plan_.segments.size()) - 1;
    const auto awaits = [&](const Term& term) {
      return term.is_normed() && term.source >= seeds &&
             plan_.slots[term.source].first_segment == segment;
    };
    const auto first = tape_.terms.begin() + plan_.steps[step].first;
    const auto last = std::find_if(first, tape_.terms.end(), [&](const Term& term) {
      return term.destination != first->destination;
    });
    return std::any_of(first, last, awaits);
  }

  // Sums are taken where a gradient is completed; those of a seed before the segment that reads it
  // first, where its neighbours' gradients at the same place are completed.
  void place_sums() {
    plan_.sums.resize(plan_.segments.size());
    std::vector<int64_t> first_reader(tape_.seeds.size(), kNone);
    for (std::size_t i = 0; i < plan_.segments.size(); ++i) {
      const int64_t last = plan_.steps[plan_.segments[i].last - 1].last;
      for (int64_t t = plan_.steps[plan_.segments[i].first].first; t < last; ++t) {
        const Term& term = tape_.terms[t];
        if (!term.is_normed()) {
          continue;
        }
        int64_t place = plan_.slots[term.source].first_segment;
        if (term.source < static_cast<int64_t>(tape_.seeds.size())) {
          int64_t& reader = first_reader[term.source];
          reader = reader == kNone ? static_cast<int64_t>(i) : reader;
          place = reader - 1;
        }
        add_sum(t, place < 0 ? plan_.first_sums : plan_.sums[place]);
      }
    }
  }

  void add_sum(int64_t term, std::vector<SharedNormSums>& sums) const {
    for (SharedNormSums& other : sums) {
      if (other.second == kNone && tape_.terms[other.first].norm == tape_.terms[term].norm) {
        other.second = term;
        return;
      }
    }
    sums.push_back({.first = term, .second = kNone});
  }

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
        slot.offset = slot.in_scratch ? gradients.take(tape_.values[destination(i)].numbers()) : 0;
      }
      segment.normed = std::max(segment.normed, normed_numbers(step));
      for (int64_t term = step.first; term < step.last; ++term) {
        take_patches(tape_.terms[term], segment.piece, patches);
      }
      for (int64_t term = step.first; term < step.last; ++term) {
        give_back(tape_.terms[term], i, number, segment.piece, gradients, patches);
      }
      if (step.complete && slot.in_scratch && uses_[destination(i)].last < 0) {
        gradients.give_back(slot.offset, tape_.values[destination(i)].numbers());
      }
    }
    segment.scratch = gradients.size();
    segment.patches = patches.size();
  }

  // Behind the gradients.
  void lay_out_signs(int64_t number) {
    Segment& segment = plan_.segments[number];
    segment.signs.assign(tape_.seeds.size(), kNone);
    const auto read = [&](int64_t value) {
      if (value < static_cast<int64_t>(tape_.seeds.size()) && tape_.seeds[value].signs != nullptr &&
          segment.signs[value] == kNone) {
        segment.signs[value] = segment.scratch;
        segment.scratch += tape_.values[value].numbers();
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
        read(product.seed);
      }
    }
  }

  // Of what is sent to the layers of a step.
  int64_t normed_numbers(const Step& step) const {
    int64_t numbers = 0;
    for (int64_t term = step.first; term < step.last; ++term) {
      numbers +=
          tape_.terms[term].is_normed() ? tape_.values[tape_.terms[term].source].numbers() : 0;
    }
    return numbers;
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
    if (shares_patches(term) && slot.patches < 0 && uses.conv3x3 > 1 && uses.one_segment &&
        value.channels <= kNarrowChannels) {
      slot.patches = patches.take(shared_patches_size(value, piece));
    }
  }

  // What is read for the last time by step i; a source may occur twice in a step.
  void give_back(const Term& term, int64_t i, int64_t segment, int64_t piece, Arena& gradients,
                 Arena& patches) {
    Uses& uses = uses_[term.source];
    const BufferSlot& slot = plan_.slots[term.source];
    const Value& value = tape_.values[term.source];
    if (uses.last == i && slot.in_scratch && slot.first_segment == segment) {
      gradients.give_back(slot.offset, value.numbers());
      uses.last = kGivenBack;
    }
    if (uses.last_conv3x3 == i && slot.patches >= 0) {
      patches.give_back(slot.patches, shared_patches_size(value, piece));
      uses.last_conv3x3 = kGivenBack;
    }
  }

  int64_t destination(int64_t step) const {
    return tape_.terms[plan_.steps[step].first].destination;
  }

  static constexpr int64_t kGivenBack = -2;

  const Tape& tape_;
  Plan plan_;
  std::vector<Uses> uses_;  // by value
};

}  // namespace vkdnw::tape
