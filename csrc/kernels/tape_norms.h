// The BatchNorms behind the layers of a tape: sums over each gradient that passes one, taken as the
// gradient is completed, and the coefficients that are made of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/batch_norm.h"
#include "kernels/tape.h"

namespace vkdnw::tape {

class Norms {
 public:
  explicit Norms(const Tape& tape) : tape_(tape), of_value_(tape.values.size()) {
    states_.resize(tape.terms.size());
    for (int64_t i = 0; i < static_cast<int64_t>(tape.terms.size()); ++i) {
      if (tape.terms[i].is_normed()) {
        of_value_[tape.terms[i].source].push_back(i);
        begin(i);
      }
    }
  }

  // Adds samples [first, first + count) of the complete gradient of a value to the sums of its
  // terms. Several threads may add different samples.
  void sum(int64_t value, const float* gradient, int64_t first, int64_t count) {
    const Value& shape = tape_.values[value];
    for (const int64_t term : of_value_[value]) {
      const Norm& norm = tape_.norms[tape_.terms[term].norm];
      State& state = states_[term];
      for (int64_t sample = first; sample < first + count; ++sample) {
        batch_norm::sum_products<false>(
            size_of(shape), gradient + (sample - first) * shape.numbers(),
            norm.x + sample * shape.numbers(), state.coefficients.data() + 2 * shape.channels,
            state.sums->data() + sample * 2 * shape.channels);
      }
    }
  }

  // Makes coefficients for terms [first, last), whose sums are complete.
  void finish(int64_t first, int64_t last) {
    for (int64_t term = first; term < last; ++term) {
      if (tape_.terms[term].is_normed()) {
        finish(term);
      }
    }
  }

  // What a term's BatchNorm sends back for samples [first, first + count) of a gradient.
  void apply(int64_t term, const float* gradient, int64_t first, int64_t count,
             float* target) const {
    const Value& shape = tape_.values[tape_.terms[term].source];
    const float* row = states_[term].coefficients.data();
    batch_norm::input_gradient({.scale = row,
                                .slope = row + shape.channels,
                                .mean = row + 2 * shape.channels,
                                .shift = row + 3 * shape.channels},
                               count * shape.pixels(), shape.channels, gradient,
                               tape_.norms[tape_.terms[term].norm].x + first * shape.numbers(),
                               target);
  }

 private:
  struct State {
    std::vector<float> coefficients;              // [4, channels]: scale, slope, mean, shift
    std::unique_ptr<AlignedBuffer<double>> sums;  // [samples, 2, channels]
  };

  batch_norm::Size size_of(const Value& shape) const {
    return {.samples = tape_.samples, .pixels = shape.pixels(), .channels = shape.channels};
  }

  void begin(int64_t term) {
    const int64_t channels = tape_.values[tape_.terms[term].source].channels;
    const double* means = tape_.norms[tape_.terms[term].norm].statistics;
    states_[term].sums = std::make_unique<AlignedBuffer<double>>(tape_.samples * 2 * channels);
    states_[term].coefficients.resize(4 * channels);
    std::copy_n(means, channels, states_[term].coefficients.begin() + 2 * channels);
  }

  void finish(int64_t term) {
    const batch_norm::Size size = size_of(tape_.values[tape_.terms[term].source]);
    const Norm& norm = tape_.norms[tape_.terms[term].norm];
    State& state = states_[term];
    batch_norm::add_samples(size, state.sums->data());
    for (int64_t c = 0; c < size.channels; ++c) {
      const batch_norm::Gradients found =
          batch_norm::gradients({norm.statistics[c], norm.statistics[size.channels + c]},
                                norm.weight == nullptr ? 1 : norm.weight[c], (*state.sums)[c],
                                (*state.sums)[size.channels + c], size.count());
      state.coefficients[c] = static_cast<float>(found.scale);
      state.coefficients[size.channels + c] = static_cast<float>(found.slope);
      state.coefficients[3 * size.channels + c] = static_cast<float>(found.offset);
    }
    state.sums.reset();
  }

  const Tape& tape_;
  std::vector<std::vector<int64_t>> of_value_;  // terms that pass its gradient to a BatchNorm
  std::vector<State> states_;                   // by term
};

}  // namespace vkdnw::tape
