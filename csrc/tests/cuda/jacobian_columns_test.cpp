// The kernels of vkdnw::jacobian_columns_ against the definition, one number at a time in float64.
#include "kernels/cuda/jacobian_columns.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "both_orders.h"
#include "kernels/cuda/jacobian_columns_gather.h"

using namespace vkdnw;

namespace {

// Numbers that every storage type holds exactly: eighths, and their bits in it.
template <typename Storage>
Storage stored(double value) {
  if constexpr (std::is_same_v<Storage, BFloat16>) {
    return {static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16)};
  } else if constexpr (std::is_same_v<Storage, Float16>) {
    const auto bits = std::bit_cast<uint32_t>(static_cast<float>(value));
    const uint32_t sign = bits >> 16 & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    return {static_cast<uint16_t>(
        magnitude == 0 ? sign : sign | ((magnitude >> 13) - ((127u - 15u) << 10)))};
  } else {
    return static_cast<Storage>(value);
  }
}

enum class Layout { kContiguous, kChannelsLast, kReversedRows };

template <typename Storage>
struct Images {
  std::vector<Storage> data;
  LayerTensor<Storage> tensor;
  int64_t channels;

  // `shift` numbers before the first take the memory out of its alignment.
  Images(int64_t cotangents, int64_t samples, int64_t channels, Extent3 extent, Layout layout,
         int64_t shift = 0)
      : channels(channels) {
    const int64_t plane = extent[0] * extent[1] * extent[2];
    data.resize(cotangents * samples * channels * plane + shift + 8);
    std::mt19937 generator(static_cast<unsigned>(data.size()));
    for (Storage& number : data) {
      number = stored<Storage>((static_cast<int>(generator() % 31) - 15) / 8.0);
    }
    const bool last = layout == Layout::kChannelsLast;
    const int64_t step = last ? channels : 1;
    tensor = {.data = data.data() + shift,
              .extent = extent,
              .cotangent_stride = samples * channels * plane,
              .sample_stride = channels * plane,
              .channel_stride = last ? 1 : plane,
              .stride = {extent[1] * extent[2] * step, extent[2] * step, step}};
    if (layout == Layout::kReversedRows) {
      tensor.data += (extent[1] - 1) * extent[2];
      tensor.stride[1] = -extent[2];
    }
  }

  double at(int64_t cotangent, int64_t sample, int64_t channel, const Extent3& position) const {
    const Storage* from = tensor.plane(cotangent, sample, channel);
    return widen(from[position[0] * tensor.stride[0] + position[1] * tensor.stride[1] +
                      position[2] * tensor.stride[2]]);
  }
};

template <typename Storage>
struct Case {
  using T = Accumulator<Storage>;

  int64_t samples, cotangents, columns;
  std::vector<Images<Storage>> inputs, grads;
  std::vector<Pick> picks;

  void add(Images<Storage> input, Images<Storage> grad) {
    inputs.push_back(std::move(input));
    grads.push_back(std::move(grad));
  }

  std::vector<double> expected() const {
    std::vector<double> jacobian(samples * cotangents * columns, 0.5);
    for (const Pick& pick : picks) {
      for (int64_t n = 0; n < samples; ++n) {
        for (int64_t k = 0; k < cotangents; ++k) {
          jacobian[(n * cotangents + k) * columns + pick.column] += sum_of(pick, n, k);
        }
      }
    }
    return jacobian;
  }

  double sum_of(const Pick& pick, int64_t n, int64_t k) const {
    const Images<Storage>& x = inputs[pick.layer];
    const Images<Storage>& g = grads[pick.layer];
    double sum = 0;
    Extent3 o;
    for (o[0] = 0; o[0] < g.tensor.extent[0]; ++o[0]) {
      for (o[1] = 0; o[1] < g.tensor.extent[1]; ++o[1]) {
        for (o[2] = 0; o[2] < g.tensor.extent[2]; ++o[2]) {
          Extent3 at;
          bool inside = true;
          for (int d = 0; d < 3; ++d) {
            at[d] = pick.start[d] + pick.step[d] * o[d];
            inside = inside && at[d] >= 0 && at[d] < x.tensor.extent[d];
          }
          const bool ones = pick.input_channel == Pick::kOnes;
          const double factor = ones     ? 1.0
                                : inside ? x.at(0, n, pick.input_channel, at) - pick.shift
                                         : 0.0;
          sum += g.at(k, n, pick.grad_channel, o) * factor;
        }
      }
    }
    return pick.scale * sum;
  }

  std::vector<T> computed() const {
    std::vector<T> jacobian(samples * cotangents * columns, T(0.5));
    JacobianColumnsProblem<Storage> problem{.samples = samples,
                                            .cotangents = cotangents,
                                            .inputs = {},
                                            .grads = {},
                                            .picks = picks,
                                            .jacobian = jacobian.data(),
                                            .jacobian_sample_stride = cotangents * columns,
                                            .jacobian_cotangent_stride = columns};
    for (size_t layer = 0; layer < inputs.size(); ++layer) {
      problem.inputs.push_back(inputs[layer].tensor);
      problem.inputs.back().cotangent_stride = 0;
      problem.grads.push_back(grads[layer].tensor);
    }
    const auto tables = cuda::gather_tables(problem, plan_jacobian_columns(problem));
    if (tables.nothing_to_do()) {
      return jacobian;
    }
    std::vector<cuda::Vector<float>> scratch(cuda::scratch_layout(tables).bytes / 16);
    REQUIRE(cuda::add_jacobian_columns(tables, reinterpret_cast<unsigned char*>(scratch.data()),
                                       nullptr) == cudaSuccess);
    return jacobian;
  }

  void check() const {
    const std::vector<double> reference = expected();
    const std::vector<T> actual = computed();
    double largest = 0;
    for (const double value : reference) {
      largest = std::max(largest, std::abs(value));
    }
    // Eighths: every product and partial sum is a number of T, so that only scale and shift round.
    const double bound = 8.0 * std::numeric_limits<T>::epsilon() * largest;
    for (size_t i = 0; i < reference.size(); ++i) {
      CAPTURE(i);
      REQUIRE(std::abs(actual[i] - reference[i]) <= bound);
    }
    CHECK(cuda::same_in_both_orders([this] { return computed(); }));
  }
};

Pick pick(int64_t column, int64_t layer, int64_t gc, int64_t ic, Extent3 start = {0, 0, 0},
          Extent3 step = {1, 1, 1}, double shift = 0.0, double scale = 1.0) {
  return {column, layer, gc, ic, start, step, shift, scale};
}

// A convolution with its normalisation, strided, padded, dilated, and a lone bias.
template <typename Storage>
Case<Storage> several_layers(Layout layout, int64_t width, int64_t shift) {
  Case<Storage> c{2, 3, 9, {}, {}, {}};
  c.add({1, 2, 3, {1, 6, width}, layout, shift}, {3, 2, 2, {1, 6, width}, layout, shift});
  c.add({1, 2, 2, {1, 5, 2 * width}, layout, shift}, {3, 2, 4, {1, 3, width}, layout, shift});
  c.add({1, 2, 2, {3, 4, width}, layout}, {3, 2, 2, {3, 4, width}, layout});
  c.picks = {pick(0, 0, 0, 2, {0, -1, -1}),
             pick(1, 0, 0, 0, {0, 0, 0}, {1, 1, 1}, 0.25, 1.5),
             pick(2, 0, 0, Pick::kOnes),
             pick(3, 0, 0, 1, {0, 1, 1}),
             pick(4, 1, 3, 1, {0, -1, 0}, {1, 2, 2}),
             pick(5, 1, 0, 0, {0, 1, 1}, {1, 2, 2}, -0.5),
             pick(6, 2, 1, 1, {-1, 2, -2}),
             pick(7, 2, 1, 0, {0, 0, width}),
             pick(0, 2, 0, 0),
             pick(8, 1, 0, Pick::kOnes, {0, 0, 0}, {1, 1, 1}, 0, -2)};
  return c;
}

}  // namespace

TEST_CASE_TEMPLATE("every layer, sample and cotangent at once", Storage, double, float, Float16,
                   BFloat16) {
  for (const Layout layout : {Layout::kContiguous, Layout::kChannelsLast, Layout::kReversedRows}) {
    for (const int64_t width : {8, 7}) {    // whole vectors, and not
      for (const int64_t shift : {0, 1}) {  // aligned, and not
        CAPTURE(width);
        CAPTURE(shift);
        several_layers<Storage>(layout, width, shift).check();
      }
    }
  }
}

TEST_CASE_TEMPLATE("planes that take all warps of a block", Storage, double, float) {
  for (const int64_t width : {130, 127}) {
    Case<Storage> c{1, 2, 3, {}, {}, {}};
    c.add({1, 1, 1, {1, 65, width}, Layout::kContiguous},
          {2, 1, 1, {1, 65, width}, Layout::kContiguous});
    c.picks = {pick(0, 0, 0, 0, {0, 1, -1}), pick(1, 0, 0, Pick::kOnes), pick(2, 0, 0, 0)};
    REQUIRE(65 * width > cuda::kPositionsPerWarp);
    c.check();
  }
}

TEST_CASE("one sample, one cotangent, one position") {
  Case<float> c{1, 1, 1, {}, {}, {}};
  c.add({1, 1, 1, {1, 1, 1}, Layout::kContiguous}, {1, 1, 1, {1, 1, 1}, Layout::kContiguous});
  c.picks = {pick(0, 0, 0, 0)};
  c.check();
}

TEST_CASE("layers without positions, samples or picks add nothing") {
  Case<double> empty{2, 2, 1, {}, {}, {}};
  empty.add({1, 2, 1, {1, 0, 4}, Layout::kContiguous}, {2, 2, 1, {1, 0, 4}, Layout::kContiguous});
  empty.picks = {pick(0, 0, 0, 0), pick(0, 0, 0, Pick::kOnes)};
  empty.check();
  empty.picks.clear();
  empty.check();
  empty.samples = 0;
  CHECK(empty.computed().empty());
}

TEST_CASE("many picks of one plane") {
  Case<float> c{2, 1, 7, {}, {}, {}};
  c.add({1, 2, 7, {1, 4, 8}, Layout::kChannelsLast}, {1, 2, 1, {1, 4, 8}, Layout::kContiguous});
  for (int64_t column = 0; column < 7; ++column) {
    c.picks.push_back(pick(column, 0, 0, column));
  }
  c.check();
}

TEST_CASE("a NaN in a plane reaches its own columns only") {
  Case<float> c{1, 2, 2, {}, {}, {}};
  c.add({1, 1, 2, {1, 4, 8}, Layout::kContiguous}, {2, 1, 1, {1, 4, 8}, Layout::kContiguous});
  c.inputs[0].data[5] = std::numeric_limits<float>::quiet_NaN();
  c.picks = {pick(0, 0, 0, 0), pick(1, 0, 0, 1)};
  const auto jacobian = c.computed();
  CHECK(std::isnan(jacobian[0]));
  CHECK(std::isfinite(jacobian[1]));
}

TEST_CASE("planes whose offsets take more than 31 bits are refused") {
  const float number = 0;
  LayerTensor<float> tensor{.data = &number,
                            .extent = {1, 2, 2},
                            .cotangent_stride = 0,
                            .sample_stride = 0,
                            .channel_stride = 0,
                            .stride = {0, int64_t{1} << 31, 1}};
  CHECK_THROWS_AS(cuda::grad_plane(tensor, PickGroup{0, 0, 0, 1}), std::invalid_argument);
  tensor.stride = {0, 0, 0};
  tensor.extent = {1 << 11, 1 << 10, 1 << 10};
  CHECK_THROWS_AS(cuda::grad_plane(tensor, PickGroup{0, 0, 0, 1}), std::invalid_argument);
}

TEST_CASE("samples that lie beyond 2^31 numbers are found") {
  // Two samples far apart in an address space that is mostly never touched.
  const int64_t apart = (int64_t{1} << 31) + 3;
  std::unique_ptr<float, void (*)(void*)> memory(
      static_cast<float*>(std::calloc(apart + 1, sizeof(float))), std::free);
  if (memory == nullptr) {
    MESSAGE("skipped: no address space of 8 GiB");
    return;
  }
  memory.get()[0] = 3.0f;
  memory.get()[apart] = 5.0f;
  std::vector<float> jacobian(2, 0.0f);
  const LayerTensor<float> tensor{.data = memory.get(),
                                  .extent = {1, 1, 1},
                                  .cotangent_stride = 0,
                                  .sample_stride = apart,
                                  .channel_stride = 1,
                                  .stride = {1, 1, 1}};
  JacobianColumnsProblem<float> problem{.samples = 2,
                                        .cotangents = 1,
                                        .inputs = {tensor},
                                        .grads = {tensor},
                                        .picks = {pick(0, 0, 0, 0)},
                                        .jacobian = jacobian.data(),
                                        .jacobian_sample_stride = 1,
                                        .jacobian_cotangent_stride = 1};
  const auto tables = cuda::gather_tables(problem, plan_jacobian_columns(problem));
  std::vector<cuda::Vector<float>> scratch(cuda::scratch_layout(tables).bytes / 16);
  REQUIRE(cuda::add_jacobian_columns(tables, reinterpret_cast<unsigned char*>(scratch.data()),
                                     nullptr) == cudaSuccess);
  CHECK(jacobian[0] == 9.0f);
  CHECK(jacobian[1] == 25.0f);
}
