// The kernel of vkdnw::backpropagate_ on a device, against the CPU's tape and plain sums in
// float64.
#include "kernels/cuda/tape_backward.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "both_orders.h"
#include "tests/cuda/tape_example.h"

using namespace vkdnw;
using tape::Layer;
using tape::Value;
using tests::Example;
using tests::Planes;

namespace {

template <typename Number>
double error(const Planes& found, const std::vector<Number>& expected) {
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / norm);
}

// Two cells of NAS-Bench-201 and the reduction between them, backwards: every layer of that space.
// `cotangent` is where it starts; returns where it ends.
void add_network(Example& example, int64_t cotangent) {
  const Value small = example.tape().values[cotangent];
  const Value large{
      .channels = small.channels / 2, .height = 2 * small.height, .width = 2 * small.width};
  const auto cell = [&example](int64_t last, const Value& value) {
    const int64_t third = example.add_value(value);
    example.add_term(Layer::kConv3x3, last, third, true);
    const int64_t second = example.add_value(value);
    example.add_term(Layer::kConv1x1, third, second, true);
    example.add_term(Layer::kConv3x3, last, second, true);
    const int64_t first = example.add_value(value);
    example.add_term(Layer::kAvgPool3x3, second, first);
    example.add_term(Layer::kIdentity, third, first);
    example.add_term(Layer::kConv1x1, last, first);
    return first;
  };
  const int64_t reduced = cell(cotangent, small);
  const int64_t middle = example.add_value(small);
  example.add_term(Layer::kConv3x3, reduced, middle, true);
  const int64_t pooled = example.add_value({large.channels, small.height, small.width});
  example.add_term(Layer::kConv1x1, reduced, pooled);
  const int64_t entry = example.add_value(large);
  example.add_term(Layer::kStridedConv, middle, entry, true);
  example.add_term(Layer::kMeanPool, pooled, entry);
  cell(entry, large);
}

Example network(int64_t samples, int64_t mask_samples = 1) {
  Example example(samples, {{.channels = 32, .height = 4, .width = 4}}, mask_samples);
  add_network(example, 0);
  return example;
}

// float32 sums of up to 9 * 32 products, through about eight layers.
constexpr double kRounding = 3e-6;

}  // namespace

TEST_CASE("a network of NAS-Bench-201: the CPU's gradients, and those of float64") {
  const Example example = network(6, 3);
  const Planes found = example.on_device();
  CHECK(error(found, example.expected()) <= kRounding);
  CHECK(error(found, example.on_cpu()) <= kRounding);
  CHECK(cuda::same_in_both_orders([&] { return example.on_device(); }));
}

TEST_CASE("without room in shared memory: the same bits") {
  const Example example = network(3);
  const Planes expected = example.on_device();
  const int most = cuda_shim::device().shared_bytes;
  for (const int bytes : {0, 16 * 8 * 8 * 4, 3 * 16 * 8 * 8 * 4}) {
    cuda_shim::device().shared_bytes = bytes;
    CHECK(example.on_device() == expected);
    CHECK(cuda::same_in_both_orders([&] { return example.on_device(); }));
  }
  cuda_shim::device().shared_bytes = most;
}

TEST_CASE("one sample alone has the bits that it has among many") {
  const Example example = network(9);  // more than there are blocks
  const Planes together = example.on_device();
  for (const int64_t n : {0, 4, 8}) {
    const Planes alone = example.sample(n).on_device();
    int64_t at = 0;
    int64_t of_one = 0;
    for (const Value& value : example.tape().values) {
      const int64_t floats = value.floats();
      const auto first = together.begin() + at + n * floats;
      CHECK(Planes(first, first + floats) ==
            Planes(alone.begin() + of_one, alone.begin() + of_one + floats));
      at += example.tape().samples * floats;
      of_one += floats;
    }
  }
}

TEST_CASE("several networks in one launch, each a component") {
  const Value value{.channels = 32, .height = 4, .width = 4};
  const Value other{.channels = 32, .height = 2, .width = 3};
  Example example(5, {value, other, value});
  for (const int64_t cotangent : {0, 1, 2}) {
    add_network(example, cotangent);
  }
  const Planes found = example.on_device();
  CHECK(error(found, example.expected()) <= kRounding);
  CHECK(cuda::same_in_both_orders([&] { return example.on_device(); }));
  CHECK(cuda::lay_out_tape(example.tape(), 1 << 16).components.size() == 3);
}

TEST_CASE("other layers and odd sizes") {
  Example example(2, {{.channels = 16, .height = 3, .width = 4}, {3, 5, 7}});
  const int64_t strided = example.add_value({32, 6, 7});
  example.add_term(Layer::kStridedConv, 0, strided, true, 5);
  const int64_t leaf = example.add_value({32, 6, 7});  // only read, and its memory used again
  example.add_term(Layer::kScale, strided, leaf);
  const int64_t depthwise = example.add_value({32, 6, 7});
  example.add_term(Layer::kDepthwiseConv, strided, depthwise, true, 5);
  example.add_term(Layer::kScale, strided, depthwise);
  const int64_t halved = example.add_value({32, 11, 13});
  example.add_term(Layer::kDepthwiseConv, depthwise, halved, false, 3);
  const int64_t masked = example.add_value({32, 11, 13});
  example.add_term(Layer::kIdentity, halved, masked, true);
  example.add_term(Layer::kConv3x3, halved, masked, true);
  const int64_t three = example.add_value({3, 5, 7});
  example.add_term(Layer::kAvgPool3x3, 1, three);
  const int64_t pooled = example.add_value({3, 11, 15});
  example.add_term(Layer::kMeanPool, three, pooled);
  const Planes found = example.on_device();
  CHECK(error(found, example.expected()) <= kRounding);
  CHECK(error(found, example.on_cpu()) <= kRounding);
  CHECK(cuda::same_in_both_orders([&] { return example.on_device(); }));
}

TEST_CASE("a value that is only read, and cotangents alone") {
  Example example(3, {{.channels = 16, .height = 2, .width = 2}, {16, 1, 1}});
  const Planes found = example.on_device();
  CHECK(error(found, example.expected()) == 0);
}
