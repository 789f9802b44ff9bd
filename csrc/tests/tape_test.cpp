#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "kernels/tape/tape_run.h"
#include "tests/packed_mask.h"
#include "tests/tape_parts.h"

using vkdnw::tape::Layer;
using vkdnw::tape::make_plan;
using vkdnw::tape::Plan;
using vkdnw::tape::Tape;
using vkdnw::tape::Term;
using vkdnw::tape::Value;

namespace {

// A tape that owns its memory, and reads every channel of every value.
class Example {
 public:
  Example(int64_t samples, const std::vector<Value>& cotangents) : rng_(7) {
    tape_.samples = samples;
    tape_.mask_samples = 1;
    for (const Value& value : cotangents) {
      tape_.values.push_back(value);
      tape_.cotangents.push_back({.data = keep(samples * value.floats()), .signs = nullptr});
    }
  }

  int64_t add_value(const Value& value) {
    tape_.values.push_back(value);
    return static_cast<int64_t>(tape_.values.size()) - 1;
  }

  void add_sign_cotangent(const Value& value) {
    tape_.values.push_back(value);
    masks_.push_back(vkdnw::tests::packed_mask(
        vkdnw::tests::small_numbers(tape_.samples * value.floats(), rng_)));
    tape_.cotangents.push_back({.data = nullptr, .signs = masks_.back().data()});
  }

  // Of arbitrary numbers, whose statistics are arbitrary as well.
  int64_t add_norm(const Value& value) {
    doubles_.push_back(std::make_shared<std::vector<double>>(2 * value.channels, 0.5));
    tape_.norms.push_back({.x = keep(tape_.samples * value.floats()),
                           .statistics = doubles_.back()->data(),
                           .weight = keep(value.channels)});
    return static_cast<int64_t>(tape_.norms.size()) - 1;
  }

  void set_norm(int64_t norm) { tape_.terms.back().norm = norm; }

  void add_term(Layer layer, int64_t source, int64_t destination, const uint8_t* mask = nullptr) {
    const Value& from = tape_.values[source];
    const Value& to = tape_.values[destination];
    const int64_t stride = to.height / from.height;
    int64_t kernel = 0;
    const float* weights = nullptr;
    if (layer == Layer::kConv3x3) {
      const float* plain = keep(9 * from.channels * to.channels);
      float* transformed = keep(36 * from.channels * to.channels);
      vkdnw::winograd::transform_gradient_weights(plain, from.channels, to.channels, transformed);
      weights = transformed;
    } else if (layer == Layer::kConv1x1 || layer == Layer::kStridedConv) {
      kernel = layer == Layer::kConv1x1 ? 1 : 3;
      weights = keep(kernel * kernel * from.channels * to.channels);
    }
    tape_.terms.push_back({.layer = layer,
                           .source = source,
                           .destination = destination,
                           .weights = weights,
                           .mask = mask,
                           .kernel_height = kernel,
                           .kernel_width = kernel,
                           .stride = stride,
                           .padding = kernel / 2});
  }

  const uint8_t* add_mask(const Value& value) {
    masks_.push_back(vkdnw::tests::packed_mask(vkdnw::tests::small_numbers(value.floats(), rng_)));
    return masks_.back().data();
  }

  // Planes of every channel of every value, by value, [samples, channels, pixels].
  std::vector<std::vector<float>> run(int64_t threads = 1) {
    std::vector<std::vector<float>> planes;
    Tape tape = tape_;
    for (const Value& value : tape.values) {
      planes.emplace_back(tape.samples * value.floats(), std::nanf(""));
    }
    for (std::size_t i = 0; i < tape.values.size(); ++i) {
      if (i < tape.cotangents.size() && tape.cotangents[i].signs != nullptr) {
        planes[i].assign(planes[i].size(), 0);  // they cannot be read
        continue;
      }
      for (int64_t channel = 0; channel < tape.values[i].channels; ++channel) {
        tape.readings.push_back({.value = static_cast<int64_t>(i),
                                 .channel = channel,
                                 .planes = planes[i].data() + channel * tape.values[i].pixels(),
                                 .sample_stride = tape.values[i].floats()});
      }
    }
    vkdnw::tape::run(tape, [&](int64_t count, const auto& work) {
      for (int64_t part = 0; part < threads; ++part) {
        work(count * part / threads, count * (part + 1) / threads);
      }
    });
    return planes;
  }

  Example sample(int64_t n) const {
    Example one = *this;
    one.tape_ = vkdnw::tests::one_sample(tape_, n);
    return one;
  }

  const Tape& tape() const { return tape_; }

 private:
  float* keep(int64_t count) {
    floats_.push_back(
        std::make_shared<std::vector<float>>(vkdnw::tests::small_numbers(count, rng_)));
    return floats_.back()->data();
  }

  std::mt19937 rng_;
  Tape tape_{};
  std::vector<std::shared_ptr<std::vector<float>>> floats_;
  std::vector<std::shared_ptr<std::vector<double>>> doubles_;
  std::vector<std::vector<uint8_t>> masks_;
};

// A cell whose four nodes are all joined, and a reduction to half its width, as they are gone
// through backwards; the maps have three sizes.
Example cell_and_reduction(int64_t samples) {
  const Value small{.channels = 32, .height = 8, .width = 8};
  const Value large{.channels = 16, .height = 16, .width = 16};
  const Value pooled{.channels = 16, .height = 8, .width = 8};
  Example example(samples, {small});
  for (int64_t destination = 1; destination <= 3; ++destination) {
    example.add_value(small);
    for (int64_t source = 0; source < destination; ++source) {
      example.add_term(Layer::kConv3x3, source, destination);
    }
  }
  example.add_term(Layer::kAvgPool3x3, 1, 3);
  example.add_term(Layer::kIdentity, 0, 3);
  const int64_t shortcut = example.add_value(pooled);
  example.add_term(Layer::kConv1x1, 3, shortcut);
  const int64_t input = example.add_value(large);
  example.add_term(Layer::kStridedConv, 3, input);
  example.add_term(Layer::kMeanPool, shortcut, input);
  const int64_t before = example.add_value(large);
  example.add_term(Layer::kIdentity, input, before);
  example.add_term(Layer::kIdentity, input, before);
  return example;
}

}  // namespace

TEST_CASE("sums what the layers send back") {
  const Value value{.channels = 16, .height = 4, .width = 5};
  Example example(3, {value, value});
  const int64_t sum = example.add_value(value);
  example.add_term(Layer::kIdentity, 0, sum);
  example.add_term(Layer::kIdentity, 1, sum);
  example.add_term(Layer::kIdentity, 1, sum);
  const auto planes = example.run();
  for (std::size_t i = 0; i < planes[sum].size(); ++i) {
    CHECK(planes[sum][i] == planes[0][i] + planes[1][i] + planes[1][i]);
  }
}

TEST_CASE("means over squares are shared out evenly, and nothing lies behind the last square") {
  const Value value{.channels = 16, .height = 2, .width = 1};
  Example example(2, {value});
  const int64_t wide = example.add_value({.channels = 16, .height = 5, .width = 3});
  example.add_term(Layer::kMeanPool, 0, wide);
  const auto planes = example.run();
  for (int64_t plane = 0; plane < 2 * 16; ++plane) {
    for (int64_t y = 0; y < 5; ++y) {
      for (int64_t x = 0; x < 3; ++x) {
        const float expected = y < 4 && x < 2 ? planes[0][plane * 2 + y / 2] / 4 : 0;
        CHECK(planes[wide][(plane * 5 + y) * 3 + x] == expected);
      }
    }
  }
}

TEST_CASE("has the same bits for one sample alone, many together, and any number of threads") {
  const int64_t samples = 50;
  Example example = cell_and_reduction(samples);
  const auto expected = example.run();
  CHECK(example.run(3) == expected);
  for (const int64_t n : {int64_t{0}, int64_t{7}, samples - 1}) {
    const auto alone = example.sample(n).run();
    for (std::size_t value = 0; value < expected.size(); ++value) {
      const int64_t numbers = static_cast<int64_t>(alone[value].size());
      const auto first = expected[value].begin() + n * numbers;
      CHECK(std::vector<float>(first, first + numbers) == alone[value]);
    }
  }
}

TEST_CASE("linear: twice the cotangents, twice the gradients; a clear mask stops them") {
  const Value value{.channels = 16, .height = 6, .width = 6};
  Example example(2, {value});
  const int64_t masked = example.add_value(value);
  const uint8_t* mask = example.add_mask(value);
  example.add_term(Layer::kConv3x3, 0, masked, mask);
  const int64_t plain = example.add_value(value);
  example.add_term(Layer::kConv1x1, 0, plain);
  const auto planes = example.run();
  int64_t stopped = 0;
  for (int64_t sample = 0; sample < 2; ++sample) {
    for (int64_t i = 0; i < value.floats(); ++i) {
      const bool passes = mask[i / 8] >> (i % 8) & 1;
      const int64_t channel = i % 16;
      const float result = planes[masked][(sample * 16 + channel) * value.pixels() + i / 16];
      CHECK((result != 0) == passes);
      stopped += !passes;
    }
  }
  CHECK(stopped > 0);
}

TEST_CASE("maps of one size share a segment, and memory when they are no longer read") {
  const Value value{.channels = 16, .height = 32, .width = 32};
  Example example(20, {value});
  for (int64_t layer = 0; layer < 10; ++layer) {
    example.add_value(value);
    example.add_term(Layer::kConv1x1, layer, layer + 1);
  }
  const Plan plan = make_plan(example.tape());
  REQUIRE(plan.segments.size() == 1);
  CHECK(plan.segments[0].scratch == 2 * value.floats());
  CHECK(plan.segments[0].piece < 20);
}

TEST_CASE(
    "wide and narrow maps of one height and width share a segment, whose piece fits the widest") {
  const Value narrow{.channels = 16, .height = 16, .width = 16};
  const Value wide{.channels = 96, .height = 16, .width = 16};
  Example example(40, {narrow});
  for (int64_t layer = 0; layer < 6; ++layer) {
    example.add_value(layer % 2 == 0 ? wide : narrow);
    example.add_term(Layer::kConv1x1, layer, layer + 1);
  }
  const Plan plan = make_plan(example.tape());
  REQUIRE(plan.segments.size() == 1);
  CHECK(plan.segments[0].piece * wide.floats() <= 2 * vkdnw::tape::kPieceFloats);
  CHECK(plan.segments[0].scratch == wide.floats() + narrow.floats());
}

TEST_CASE("gradients that other segments read are kept for all samples") {
  const Example example = cell_and_reduction(50);
  const Plan plan = make_plan(example.tape());
  REQUIRE(plan.segments.size() > 1);
  for (const Term& term : example.tape().terms) {
    const bool cotangent = term.source == 0;
    const bool crosses =
        plan.slots[term.source].last_segment > plan.slots[term.source].first_segment;
    CHECK((cotangent || plan.slots[term.source].in_scratch != crosses));
  }
}

namespace {

// Three layers of convolutions behind norms, from numbers and from signs side by side.
Example normed_layers(int64_t samples) {
  const Value value{.channels = 16, .height = 20, .width = 20};
  Example example(samples, {value});
  example.add_sign_cotangent(value);
  for (int64_t layer = 0; layer < 3; ++layer) {
    const int64_t norm = example.add_norm(value);
    for (int64_t side = 0; side < 2; ++side) {
      const int64_t destination = example.add_value(value);
      example.add_term(Layer::kConv3x3, destination - 2, destination);
      example.set_norm(norm);
    }
  }
  return example;
}

}  // namespace

TEST_CASE("norms: any number of threads has the same bits, which depend on the whole batch") {
  Example example = normed_layers(30);
  const auto expected = example.run();
  CHECK(example.run(3) == expected);
  const auto alone = example.sample(0).run();
  for (std::size_t value = 2; value < alone.size(); value += 2) {
    const auto numbers = static_cast<std::ptrdiff_t>(alone[value].size());
    CHECK(std::vector<float>(expected[value].begin(), expected[value].begin() + numbers) !=
          alone[value]);
  }
}

TEST_CASE("a segment ends before a value that takes sums over its gradients") {
  const Example example = normed_layers(30);
  const Plan plan = make_plan(example.tape());
  REQUIRE(plan.segments.size() == 3);
  for (std::size_t i = 0; i < plan.segments.size(); ++i) {
    CHECK(plan.steps[plan.segments[i].first].first == static_cast<int64_t>(2 * i));
    CHECK((plan.segments[i].signs[1] >= 0) == (i == 0));
  }
  REQUIRE(plan.first_sums.size() == 1);
  CHECK((plan.first_sums[0].first == 0 && plan.first_sums[0].second == 1));
}
