// A tape for the device, the CPU and sums in float64 as they are defined.
#pragma once

#include <doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "kernels/conv/winograd3x3.h"
#include "kernels/cuda/tape_backward.h"
#include "kernels/tape/tape_run.h"
#include "tests/packed_mask.h"
#include "tests/tape_parts.h"

namespace vkdnw::tests {

using tape::Layer;
using tape::Tape;
using tape::Term;
using tape::Value;

using Planes = std::vector<float>;  // of every value, [samples, channels, pixels]

// A tape for both: only a 3x3 convolution's weights are laid out differently on the CPU.
class Example {
 public:
  Example(int64_t samples, const std::vector<Value>& cotangents, int64_t mask_samples = 1)
      : mask_samples_(mask_samples) {
    tape_.samples = samples;
    tape_.mask_samples = mask_samples;
    for (const Value& value : cotangents) {
      tape_.values.push_back(value);
      tape_.cotangents.push_back({.data = numbers(samples * value.floats()), .signs = nullptr});
    }
  }

  int64_t add_value(const Value& value) {
    tape_.values.push_back(value);
    return static_cast<int64_t>(tape_.values.size()) - 1;
  }

  void add_term(Layer layer, int64_t source, int64_t destination, bool masked = false,
                int64_t kernel = 3) {
    const Value& from = tape_.values[source];
    const Value& to = tape_.values[destination];
    Term term{.layer = layer,
              .source = source,
              .destination = destination,
              .weights = nullptr,
              .mask = masked ? mask(to) : nullptr,
              .kernel_height = 0,
              .kernel_width = 0,
              .stride = layer == Layer::kMeanPool ? to.height / from.height
                                                  : (to.height + from.height - 1) / from.height,
              .padding = kernel / 2};
    const float* on_cpu = nullptr;
    if (layer == Layer::kConv3x3) {
      const float* plain = numbers(9 * from.channels * to.channels);  // [Co, 3, 3, Ci]
      term.weights = plain;
      on_cpu = for_winograd(plain, from.channels, to.channels);
    } else if (layer == Layer::kConv1x1) {
      term.weights = numbers(from.channels * to.channels);
    } else if (layer == Layer::kStridedConv || layer == Layer::kDepthwiseConv) {
      const int64_t pairs =
          layer == Layer::kStridedConv ? from.channels * to.channels : to.channels;
      term.kernel_height = term.kernel_width = kernel;
      term.weights = numbers(kernel * kernel * pairs);
    } else if (layer == Layer::kScale) {
      term.weights = numbers(1);
    }
    tape_.terms.push_back(term);
    cpu_weights_.push_back(on_cpu == nullptr ? term.weights : on_cpu);
  }

  Planes on_device() const {
    Planes planes;
    Tape tape = reading_all(planes);
    cuda::TapeLimits limits{};
    REQUIRE(cuda::tape_limits(limits) == cudaSuccess);
    const cuda::TapeTables tables = cuda::lay_out_tape(tape, limits.shared_floats);
    const cuda::TapeScratch layout = cuda::tape_scratch(tables, limits.blocks);
    std::vector<float> scratch((layout.bytes + 3) / 4, std::nanf(""));
    REQUIRE(cuda::launch_tape_backward(tables, limits.blocks,
                                       reinterpret_cast<unsigned char*>(scratch.data()),
                                       nullptr) == cudaSuccess);
    return planes;
  }

  Planes on_cpu() const {
    Planes planes;
    Tape tape = reading_all(planes);
    for (std::size_t i = 0; i < tape.terms.size(); ++i) {
      tape.terms[i].weights = cpu_weights_[i];
    }
    tape::run(tape, [](int64_t count, const auto& work) { work(0, count); });
    return planes;
  }

  // Every sum as it is defined, in float64.
  std::vector<double> expected() const {
    std::vector<std::vector<double>> maps;  // NHWC
    for (std::size_t i = 0; i < tape_.values.size(); ++i) {
      const int64_t floats = tape_.samples * tape_.values[i].floats();
      const float* cotangent = i < tape_.cotangents.size() ? tape_.cotangents[i].data : nullptr;
      maps.emplace_back(cotangent == nullptr ? std::vector<double>(floats)
                                             : std::vector<double>(cotangent, cotangent + floats));
    }
    for (const Term& term : tape_.terms) {
      for (int64_t n = 0; n < tape_.samples; ++n) {
        add(term, n, maps[term.source], maps[term.destination]);
      }
    }
    std::vector<double> planes;
    for (std::size_t i = 0; i < maps.size(); ++i) {
      const Value& value = tape_.values[i];
      for (int64_t n = 0; n < tape_.samples; ++n) {
        for (int64_t j = 0; j < value.floats(); ++j) {
          const int64_t pixel = j % value.pixels();
          planes.push_back(
              maps[i][(n * value.pixels() + pixel) * value.channels + j / value.pixels()]);
        }
      }
    }
    return planes;
  }

  Example sample(int64_t n) const {
    Example one = *this;
    one.tape_ = tests::one_sample(tape_, n);
    return one;
  }

  const Tape& tape() const { return tape_; }

 private:
  using Floats = std::shared_ptr<std::vector<float>>;

  const float* numbers(int64_t count) {
    floats_.push_back(std::make_shared<std::vector<float>>(tests::small_numbers(count, rng_)));
    return floats_.back()->data();
  }

  const uint8_t* mask(const Value& value) {
    const float* signs = numbers(mask_samples_ * value.floats());
    masks_.push_back(std::make_shared<std::vector<uint8_t>>(
        tests::packed_mask(std::vector<float>(signs, signs + mask_samples_ * value.floats()))));
    return masks_.back()->data();
  }

  const float* for_winograd(const float* plain, int64_t out, int64_t in) {
    std::vector<float> torchs(9 * out * in);  // [Co, Ci, 3, 3]
    for (int64_t i = 0; i < 9 * out * in; ++i) {
      const int64_t tap = i / in % 9;
      torchs[(i / in / 9 * in + i % in) * 9 + tap] = plain[i];
    }
    floats_.push_back(std::make_shared<std::vector<float>>(36 * out * in));
    winograd::transform_gradient_weights(torchs.data(), out, in, floats_.back()->data());
    return floats_.back()->data();
  }

  Tape reading_all(Planes& planes) const {
    Tape tape = tape_;
    int64_t floats = 0;
    for (const Value& value : tape.values) {
      floats += tape.samples * value.floats();
    }
    planes.assign(floats, std::nanf(""));
    float* at = planes.data();
    for (std::size_t i = 0; i < tape.values.size(); ++i) {
      const Value& value = tape.values[i];
      for (int64_t channel = 0; channel < value.channels; ++channel) {
        tape.readings.push_back({.value = static_cast<int64_t>(i),
                                 .channel = channel,
                                 .planes = at + channel * value.pixels(),
                                 .sample_stride = value.floats()});
      }
      at += tape.samples * value.floats();
    }
    return tape;
  }

  // One sample of one term.
  void add(const Term& term, int64_t n, const std::vector<double>& sources,
           std::vector<double>& results) const {
    const Value& from = tape_.values[term.source];
    const Value& to = tape_.values[term.destination];
    const auto source = [&](int64_t y, int64_t x, int64_t c) {
      const bool inside = y >= 0 && y < from.height && x >= 0 && x < from.width;
      return inside ? sources[((n * from.height + y) * from.width + x) * from.channels + c] : 0.0;
    };
    for (int64_t i = 0; i < to.floats(); ++i) {
      const int64_t c = i % to.channels;
      const int64_t x = i / to.channels % to.width;
      const int64_t y = i / to.channels / to.width;
      const int64_t bit = n % mask_samples_ * to.floats() + i;
      if (term.mask == nullptr || (term.mask[bit / 8] >> (bit % 8) & 1) != 0) {
        results[n * to.floats() + i] += number(term, from, to, source, y, x, c);
      }
    }
  }

  template <typename Source>
  static double number(const Term& term, const Value& from, const Value& to, const Source& source,
                       int64_t y, int64_t x, int64_t c) {
    switch (term.layer) {
      case Layer::kIdentity:
        return source(y, x, c);
      case Layer::kScale:
        return *term.weights * source(y, x, c);
      case Layer::kMeanPool:
        return source(y / term.stride, x / term.stride, c) /
               static_cast<double>(term.stride * term.stride);
      case Layer::kAvgPool3x3:
        return average(from, source, y, x, c);
      default:
        return convolution(term, from, to, source, y, x, c);
    }
  }

  template <typename Source>
  static double average(const Value& value, const Source& source, int64_t y, int64_t x, int64_t c) {
    const auto count = [](int64_t position, int64_t size) {
      return std::min(position + 2, size) - std::max<int64_t>(position - 1, 0);
    };
    double sum = 0;
    for (int64_t i = std::max<int64_t>(y - 1, 0); i < std::min(y + 2, value.height); ++i) {
      for (int64_t j = std::max<int64_t>(x - 1, 0); j < std::min(x + 2, value.width); ++j) {
        sum +=
            source(i, j, c) / static_cast<double>(count(i, value.height) * count(j, value.width));
      }
    }
    return sum;
  }

  // From the definition of the convolution: output o reads input o * stride - padding + k.
  template <typename Source>
  static double convolution(const Term& term, const Value& from, const Value& to,
                            const Source& source, int64_t y, int64_t x, int64_t c) {
    const int64_t kernel = term.layer == Layer::kConv3x3   ? 3
                           : term.layer == Layer::kConv1x1 ? 1
                                                           : term.kernel_height;
    const int64_t padding = term.layer == Layer::kConv1x1 ? 0 : term.padding;
    double sum = 0;
    for (int64_t oy = 0; oy < from.height; ++oy) {
      for (int64_t ox = 0; ox < from.width; ++ox) {
        const int64_t ky = y + padding - oy * term.stride;
        const int64_t kx = x + padding - ox * term.stride;
        if (ky < 0 || ky >= kernel || kx < 0 || kx >= kernel) {
          continue;
        }
        const float* weights = term.weights;
        if (term.layer == Layer::kDepthwiseConv) {
          sum += source(oy, ox, c) * weights[(ky * kernel + kx) * to.channels + c];
          continue;
        }
        const int64_t tap = ky * kernel + kx;
        for (int64_t out = 0; out < from.channels; ++out) {
          const int64_t row =
              term.layer == Layer::kConv3x3 ? out * 9 + tap : tap * from.channels + out;
          sum += source(oy, ox, out) * weights[row * to.channels + c];
        }
      }
    }
    return sum;
  }

  std::mt19937 rng_{7};
  int64_t mask_samples_;
  Tape tape_{};
  std::vector<const float*> cpu_weights_;  // by term
  std::vector<Floats> floats_;
  std::vector<std::shared_ptr<std::vector<uint8_t>>> masks_;
};

}  // namespace vkdnw::tests
