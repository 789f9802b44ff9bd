// The BatchNorms behind the layers of a tape: sums over each gradient that passes one, taken when
// the gradient is complete, and the coefficients that follow from the sums.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/layers/batch_norm.h"
#include "kernels/simd/aligned_buffer.h"
#include "kernels/tape/tape.h"
#include "kernels/tape/tape_plan.h"

namespace vkdnw::tape {

class Norms {
 public:
  explicit Norms(const Tape& tape) : tape_(tape), states_(tape.terms.size()) {
    for (int64_t i = 0; i < static_cast<int64_t>(tape.terms.size()); ++i) {
      if (tape.terms[i].is_normed()) {
        begin(i);
      }
    }
  }

  // Takes the sums of terms for samples [first, first + count). The gradients of their sources,
  // gradient_of(value), are complete. Several threads may sum up different samples.
  template <typename GradientOf>
  void sum(const SharedNormSums& shared, const GradientOf& gradient_of, int64_t first,
           int64_t count) {
    if (shared.second == kNone) {
      return sum<1>({shared.first}, {gradient_of(tape_.terms[shared.first].source)}, first, count);
    }
    sum<2>({shared.first, shared.second},
           {gradient_of(tape_.terms[shared.first].source),
            gradient_of(tape_.terms[shared.second].source)},
           first, count);
  }

  // Computes the coefficients of terms [first, last), whose sums are complete.
  void finish(int64_t first, int64_t last) {
    for (int64_t term = first; term < last; ++term) {
      if (tape_.terms[term].is_normed()) {
        finish(term);
      }
    }
  }

  // The gradient at the input of a term's BatchNorm, for samples [first, first + count).
  void apply(int64_t term, const float* gradient, int64_t first, int64_t count,
             float* target) const {
    const Value& shape = tape_.values[tape_.terms[term].source];
    const float* row = states_[term].coefficients.data();
    batch_norm::input_gradient({.scale = row,
                                .slope = row + shape.channels,
                                .mean = row + 2 * shape.channels,
                                .shift = row + 3 * shape.channels},
                               count * shape.pixels(), shape.channels, gradient,
                               tape_.norms[tape_.terms[term].norm].x + first * shape.floats(),
                               target);
  }

 private:
  struct State {
    std::vector<float> coefficients;              // [4, channels]: scale, slope, mean, shift
    std::unique_ptr<AlignedBuffer<double>> sums;  // [samples, 2, channels]
  };

  template <std::size_t kCount>
  void sum(const std::array<int64_t, kCount>& terms, std::array<const float*, kCount> gradients,
           int64_t first, int64_t count) {
    const Value& shape = tape_.values[tape_.terms[terms[0]].source];
    const Norm& norm = tape_.norms[tape_.terms[terms[0]].norm];
    const float* means = states_[terms[0]].coefficients.data() + 2 * shape.channels;
    std::array<double*, kCount> sums;
    for (std::size_t k = 0; k < kCount; ++k) {
      sums[k] = states_[terms[k]].sums->data() + first * 2 * shape.channels;
    }
    for (int64_t sample = first; sample < first + count; ++sample) {
      batch_norm::sum_products<false>(size_of(shape), gradients, norm.x + sample * shape.floats(),
                                      means, sums);
      for (std::size_t k = 0; k < kCount; ++k) {
        gradients[k] += shape.floats();
        sums[k] += 2 * shape.channels;
      }
    }
  }

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
  std::vector<State> states_;  // by term
};

}  // namespace vkdnw::tape
