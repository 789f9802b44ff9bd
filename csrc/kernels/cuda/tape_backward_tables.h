// A tape as a device runs it: tables of pointers and sizes, laid out on the host and copied in one
// piece.
//
// A block takes one sample through one component: values that no term joins to others, such as the
// network of one of several tapes that were written behind each other. The gradients of a component
// lie in the block's shared memory while they are needed, those for which there is no room in
// global memory of the block's own, which stays in the cache of level 2.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "kernels/tape/tape.h"

namespace vkdnw::cuda {

// The gradient of a value: NHWC where it is a cotangent, planes [channels, pixels] of a block
// otherwise.
struct TapeMap {
  const float* cotangent;  // of sample 0; or null
  int64_t memory;          // floats from the start of the block's memory
  int32_t channels;
  int32_t height;
  int32_t width;
  bool shared;  // which memory
};

struct TapeTerm {
  const float* weights;
  const uint8_t* mask;
  tape::Layer layer;
  int32_t source;
  int32_t kernel_height;
  int32_t kernel_width;
  int32_t stride;
  int32_t padding;
};

struct TapeReading {
  float* planes;
  int64_t sample_stride;
  int64_t channel;
};

// All terms of a value, and the channels that are read of it. A cotangent has no terms.
struct TapeStep {
  int32_t destination;
  int32_t first_term;
  int32_t last_term;
  int32_t first_reading;
  int32_t last_reading;
};

struct TapeComponent {
  int32_t first_step;
  int32_t last_step;
};

struct TapeTables {
  int64_t samples;
  int64_t mask_samples;
  int64_t shared_floats;  // of a block
  int64_t global_floats;  // of a block
  std::vector<TapeMap> maps;
  std::vector<TapeTerm> terms;
  std::vector<TapeReading> readings;
  std::vector<TapeStep> steps;
  std::vector<TapeComponent> components;

  int64_t items() const { return samples * static_cast<int64_t>(components.size()); }
};

namespace tape_layout {

// By value, the lowest value that terms join it to.
inline std::vector<int32_t> components_of(const tape::Tape& tape) {
  std::vector<int32_t> parent(tape.values.size());
  std::iota(parent.begin(), parent.end(), 0);
  const auto root = [&parent](int64_t value) {
    while (parent[value] != value) {
      value = parent[value] = parent[parent[value]];
    }
    return static_cast<int32_t>(value);
  };
  for (const tape::Term& term : tape.terms) {
    const int32_t source = root(term.source);
    const int32_t destination = root(term.destination);
    parent[std::max(source, destination)] = std::min(source, destination);
  }
  for (std::size_t value = 0; value < parent.size(); ++value) {
    parent[value] = root(static_cast<int64_t>(value));
  }
  return parent;
}

// The steps of all values, component by component, each in the order of its values.
inline void add_steps(const tape::Tape& tape, TapeTables& tables) {
  const std::vector<int32_t> component = components_of(tape);
  std::vector<TapeStep> steps(tape.values.size());
  std::size_t term = 0;
  std::size_t reading = 0;
  for (std::size_t value = 0; value < steps.size(); ++value) {
    TapeStep& step = steps[value];
    step.destination = static_cast<int32_t>(value);
    step.first_term = static_cast<int32_t>(term);
    while (term < tape.terms.size() &&
           tape.terms[term].destination == static_cast<int64_t>(value)) {
      ++term;
    }
    step.last_term = static_cast<int32_t>(term);
    step.first_reading = static_cast<int32_t>(reading);
    while (reading < tape.readings.size() &&
           tape.readings[reading].value == static_cast<int64_t>(value)) {
      ++reading;
    }
    step.last_reading = static_cast<int32_t>(reading);
  }
  std::erase_if(steps, [](const TapeStep& step) {
    return step.first_term == step.last_term && step.first_reading == step.last_reading;
  });
  std::stable_sort(steps.begin(), steps.end(), [&](const TapeStep& a, const TapeStep& b) {
    return component[a.destination] < component[b.destination];
  });
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto step = static_cast<int32_t>(i);
    if (i == 0 || component[steps[i].destination] != component[steps[i - 1].destination]) {
      tables.components.push_back({step, step});
    }
    tables.components.back().last_step = step + 1;
  }
  tables.steps = std::move(steps);
}

// Memory in use, from the start of a block's.
struct Piece {
  int64_t begin;
  int64_t end;
  int64_t last_step;  // that needs it
};

// The first place for so many floats between pieces, which are kept in their order.
inline int64_t take(std::vector<Piece>& pieces, int64_t floats, int64_t last_step,
                    int64_t capacity) {
  int64_t begin = 0;
  auto next = pieces.begin();
  while (next != pieces.end() && next->begin - begin < floats) {
    begin = next->end;
    ++next;
  }
  if (begin + floats > capacity) {
    return tape::kNone;
  }
  pieces.insert(next, {begin, begin + floats, last_step});
  return begin;
}

// Gives every gradient of a component its memory. A step writes while no other step reads, but
// channels read out of its destination are copied while the next step writes.
inline void place_maps(const TapeComponent& component, int64_t shared_floats, TapeTables& tables) {
  std::vector<int64_t> last(tables.maps.size());
  for (int64_t i = component.first_step; i < component.last_step; ++i) {
    const TapeStep& step = tables.steps[i];
    last[step.destination] = i + (step.first_reading < step.last_reading ? 1 : 0);
    for (int32_t term = step.first_term; term < step.last_term; ++term) {
      int64_t& source = last[tables.terms[term].source];
      source = std::max(source, i);
    }
  }
  std::vector<Piece> shared;
  std::vector<Piece> global;
  for (int64_t i = component.first_step; i < component.last_step; ++i) {
    TapeMap& map = tables.maps[tables.steps[i].destination];
    if (map.cotangent != nullptr) {
      continue;
    }
    const auto is_free = [i](const Piece& piece) { return piece.last_step < i; };
    std::erase_if(shared, is_free);
    std::erase_if(global, is_free);
    const int64_t floats = int64_t{map.channels} * map.height * map.width;
    const int64_t until = last[tables.steps[i].destination];
    map.memory = take(shared, floats, until, shared_floats);
    map.shared = map.memory != tape::kNone;
    if (map.shared) {
      tables.shared_floats = std::max(tables.shared_floats, map.memory + floats);
    } else {
      map.memory = take(global, floats, until, INT64_MAX);
      tables.global_floats = std::max(tables.global_floats, map.memory + floats);
    }
  }
}

}  // namespace tape_layout

// The tables of a tape without norms, products and packed cotangents, for blocks of so much shared
// memory.
inline TapeTables lay_out_tape(const tape::Tape& tape, int64_t shared_floats) {
  TapeTables tables{};
  tables.samples = tape.samples;
  tables.mask_samples = tape.mask_samples;
  for (std::size_t i = 0; i < tape.values.size(); ++i) {
    const tape::Value& value = tape.values[i];
    tables.maps.push_back(
        {.cotangent = i < tape.cotangents.size() ? tape.cotangents[i].data : nullptr,
         .memory = tape::kNone,
         .channels = static_cast<int32_t>(value.channels),
         .height = static_cast<int32_t>(value.height),
         .width = static_cast<int32_t>(value.width),
         .shared = false});
  }
  for (const tape::Term& term : tape.terms) {
    tables.terms.push_back({.weights = term.weights,
                            .mask = term.mask,
                            .layer = term.layer,
                            .source = static_cast<int32_t>(term.source),
                            .kernel_height = static_cast<int32_t>(term.kernel_height),
                            .kernel_width = static_cast<int32_t>(term.kernel_width),
                            .stride = static_cast<int32_t>(term.stride),
                            .padding = static_cast<int32_t>(term.padding)});
  }
  for (const tape::Reading& reading : tape.readings) {
    tables.readings.push_back({reading.planes, reading.sample_stride, reading.channel});
  }
  tape_layout::add_steps(tape, tables);
  for (const TapeComponent& component : tables.components) {
    tape_layout::place_maps(component, shared_floats, tables);
  }
  return tables;
}

// Where the tables, and the blocks' global memory, lie in one piece of device memory.
struct TapeScratch {
  int64_t terms;
  int64_t readings;
  int64_t steps;
  int64_t components;
  int64_t gradients;
  int64_t bytes;
};

inline TapeScratch tape_scratch(const TapeTables& tables, int64_t blocks) {
  constexpr int64_t kAlignment = 16;
  int64_t at = 0;
  const auto place = [&at](int64_t count, size_t size) {
    const int64_t begin = at;
    at += (count * static_cast<int64_t>(size) + kAlignment - 1) / kAlignment * kAlignment;
    return begin;
  };
  const auto table = [&place](const auto& rows) {
    return place(static_cast<int64_t>(rows.size()), sizeof(rows[0]));
  };
  TapeScratch scratch{};
  table(tables.maps);
  scratch.terms = table(tables.terms);
  scratch.readings = table(tables.readings);
  scratch.steps = table(tables.steps);
  scratch.components = table(tables.components);
  scratch.gradients = place(blocks * tables.global_floats, sizeof(float));
  scratch.bytes = at;
  return scratch;
}

// The tables, as they lie there.
inline std::vector<unsigned char> packed(const TapeTables& tables, const TapeScratch& scratch) {
  std::vector<unsigned char> bytes(static_cast<size_t>(scratch.gradients));
  const auto put = [&bytes](const auto& rows, int64_t at) {
    if (!rows.empty()) {
      std::memcpy(bytes.data() + at, rows.data(), rows.size() * sizeof(rows[0]));
    }
  };
  put(tables.maps, 0);
  put(tables.terms, scratch.terms);
  put(tables.readings, scratch.readings);
  put(tables.steps, scratch.steps);
  put(tables.components, scratch.components);
  return bytes;
}

}  // namespace vkdnw::cuda
