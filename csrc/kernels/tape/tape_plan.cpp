#include "kernels/tape/tape_plan.h"

#include <algorithm>

#include "kernels/tape/tape_memory.h"

namespace vkdnw::tape {
namespace {

// Writes the steps and segments of a plan, and where sums are taken.
class Planner {
 public:
  Planner(const Tape& tape, Plan& plan) : tape_(tape), plan_(plan) {}

  void run() {
    plan_.slots.resize(tape_.values.size());
    make_steps();
    make_segments();
    place_sums();
  }

 private:
  bool share_a_step(const Term& a, const Term& b) const {
    const bool kernel_sums =
        a.layer == Layer::kConv1x1 ||
        (a.layer == Layer::kConv3x3 && tape_.values[a.destination].channels <= kNarrowChannels);
    return kernel_sums && a.layer == b.layer && a.destination == b.destination && a.mask == b.mask;
  }

  void make_steps() {
    const std::vector<Term>& terms = tape_.terms;
    for (int64_t i = 0; i < static_cast<int64_t>(terms.size()); ++i) {
      if (i > 0 && share_a_step(terms[i - 1], terms[i])) {
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
            std::max(largest[term.destination], tape_.values[value].floats());
      }
    }
    const int64_t floats = tape_.norms.empty() ? kPieceFloats : kNormedPieceFloats;
    std::vector<int64_t> pieces;
    for (std::size_t value = 0; value < largest.size(); ++value) {
      const bool narrow = tape_.values[value].channels <= kNarrowChannels;
      const int64_t fitting = floats * (narrow ? 1 : 2) / largest[value];
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

  // Whether a step begins a value with a term whose BatchNorm sums over a gradient of the current
  // segment.
  bool awaits_sums(int64_t step) const {
    if (plan_.steps[step].add) {
      return false;
    }
    const int64_t cotangents = static_cast<int64_t>(tape_.cotangents.size());
    const int64_t segment = static_cast<int64_t>(plan_.segments.size()) - 1;
    const auto awaits = [&](const Term& term) {
      return term.is_normed() && term.source >= cotangents &&
             plan_.slots[term.source].first_segment == segment;
    };
    const auto first = tape_.terms.begin() + plan_.steps[step].first;
    const auto last = std::find_if(first, tape_.terms.end(), [&](const Term& term) {
      return term.destination != first->destination;
    });
    return std::any_of(first, last, awaits);
  }

  // Sums over a gradient are taken in the segment that completes it; those over a cotangent in the
  // segment before the first one that reads it, where other gradients of its size are completed.
  void place_sums() {
    plan_.sums.resize(plan_.segments.size());
    std::vector<int64_t> first_reader(tape_.cotangents.size(), kNone);
    for (std::size_t i = 0; i < plan_.segments.size(); ++i) {
      const int64_t last = plan_.steps[plan_.segments[i].last - 1].last;
      for (int64_t t = plan_.steps[plan_.segments[i].first].first; t < last; ++t) {
        const Term& term = tape_.terms[t];
        if (!term.is_normed()) {
          continue;
        }
        int64_t place = plan_.slots[term.source].first_segment;
        if (term.source < static_cast<int64_t>(tape_.cotangents.size())) {
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

  int64_t destination(int64_t step) const {
    return tape_.terms[plan_.steps[step].first].destination;
  }

  const Tape& tape_;
  Plan& plan_;
};

}  // namespace

Plan make_plan(const Tape& tape) {
  Plan plan;
  Planner(tape, plan).run();
  lay_out_memory(tape, plan);
  return plan;
}

}  // namespace vkdnw::tape
