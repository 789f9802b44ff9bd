// Products of gradients of a tape with its cotangents, sample by sample as they are completed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/layers/map_products.h"
#include "kernels/simd/aligned_buffer.h"
#include "kernels/tape/tape.h"

namespace vkdnw::tape {

// The maps of one sample of a product: a gradient and a cotangent.
inline map_products::Maps maps_of(const Tape& tape, const Product& product, const float* gradient,
                                  const float* cotangent) {
  const Value& wide = tape.values[product.value];
  const Value& narrow = tape.values[product.cotangent];
  return {.height = narrow.height,
          .width = narrow.width,
          .times = wide.height / narrow.height,
          .wide_channels = wide.channels,
          .narrow_channels = narrow.channels,
          .wide = gradient,
          .narrow = cotangent};
}

class Products {
 public:
  explicit Products(const Tape& tape) : tape_(tape), states_(tape.products.size()) {
    for (std::size_t i = 0; i < states_.size(); ++i) {
      states_[i].size = maps_of(tape, tape.products[i], nullptr, nullptr).size();
      states_[i].sums = std::make_unique<AlignedBuffer<float>>(tape.samples * states_[i].size);
      states_[i].equal.resize(tape.samples);
    }
  }

  // Multiplies samples [first, first + count) of the complete gradient of a value;
  // cotangent_of(cotangent) are those of a cotangent. Several threads may multiply different
  // samples.
  template <typename CotangentOf>
  void multiply(int64_t value, const float* gradient, const CotangentOf& cotangent_of,
                int64_t first, int64_t count) {
    for (std::size_t i = 0; i < states_.size(); ++i) {
      const Product& product = tape_.products[i];
      if (product.value == value) {
        const float* cotangent = cotangent_of(product.cotangent);
        for (int64_t sample = 0; sample < count; ++sample) {
          multiply(i, gradient + sample * tape_.values[value].floats(),
                   cotangent + sample * tape_.values[product.cotangent].floats(), first + sample);
        }
      }
    }
  }

  // Writes the sums over all samples, which are added up in order.
  void finish() const {
    for (std::size_t i = 0; i < states_.size(); ++i) {
      const State& state = states_[i];
      double* sums = tape_.products[i].sums;
      std::fill_n(sums, state.size, 0.0);
      for (int64_t sample = 0; sample < tape_.samples; ++sample) {
        for (int64_t j = 0; j < state.size; ++j) {
          sums[j] += (*state.sums)[sample * state.size + j];
        }
      }
      sums[state.size] = std::all_of(state.equal.begin(), state.equal.end(),
                                     [](uint8_t equal) { return equal != 0; });
    }
  }

 private:
  struct State {
    int64_t size = 0;                            // of the matrix
    std::unique_ptr<AlignedBuffer<float>> sums;  // [samples, size]
    std::vector<uint8_t> equal;                  // by sample: whether the gradient is the cotangent
  };

  void multiply(std::size_t product, const float* gradient, const float* cotangent,
                int64_t sample) {
    State& state = states_[product];
    const map_products::Maps maps = maps_of(tape_, tape_.products[product], gradient, cotangent);
    map_products::multiply(maps, state.sums->data() + sample * state.size);
    const Value& value = tape_.values[tape_.products[product].value];
    state.equal[sample] = value == tape_.values[tape_.products[product].cotangent] &&
                          std::equal(gradient, gradient + value.floats(), maps.narrow);
  }

  const Tape& tape_;
  std::vector<State> states_;  // by product
};

}  // namespace vkdnw::tape
