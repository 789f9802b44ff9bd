// The kernels of vkdnw::fisher_factor and vkdnw::fisher_accumulate_ against the CPU's.
#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "both_orders.h"
#include "kernels/cuda/fisher_accumulate.h"
#include "kernels/cuda/fisher_factor.h"
#include "kernels/cuda/softmax_steps.h"
#include "kernels/fisher/fisher_accumulate.h"
#include "kernels/fisher/fisher_factor.h"

using namespace vkdnw;

namespace {

const auto serially = [](int64_t begin, int64_t end, int64_t, const auto& f) { f(begin, end); };

struct Sizes {
  int64_t samples, classes, columns;
};

template <typename Entry>
struct Batch {
  Convention convention;
  Sizes sizes;
  std::vector<double> p;
  std::vector<Entry> jacobian;
  std::vector<FactorStep> steps;

  Batch(Convention convention, Sizes sizes) : convention(convention), sizes(sizes) {
    std::mt19937 generator(1);
    std::normal_distribution<double> normal;
    for (int64_t n = 0; n < sizes.samples; ++n) {
      double sum = 0;
      for (int64_t j = 0; j < sizes.classes; ++j) {
        p.push_back(std::exp(normal(generator)));
        sum += p.back();
      }
      for (int64_t j = 0; j < sizes.classes; ++j) {
        p[n * sizes.classes + j] /= sum;
      }
    }
    for (int64_t i = 0; i < sizes.samples * (sizes.classes - 1) * sizes.columns; ++i) {
      jacobian.push_back(static_cast<Entry>(normal(generator)));
    }
    steps.resize(sizes.samples * rows());
    std::vector<SoftmaxStatus> status(sizes.samples);
    REQUIRE(cuda::launch_softmax_steps(convention, p.data(), sizes.samples, sizes.classes,
                                       steps.data(), status.data(), nullptr) == cudaSuccess);
    for (const SoftmaxStatus one : status) {
      REQUIRE(one == SoftmaxStatus::kFine);
    }
  }

  int64_t rows() const { return factor_rows(convention, sizes.classes); }

  FactoredJacobian<Entry> factored() const {
    return {convention,    sizes.samples,   sizes.classes,
            sizes.columns, jacobian.data(), (sizes.classes - 1) * sizes.columns,
            sizes.columns, steps.data()};
  }

  std::vector<double> factor() const {
    std::vector<double> result(sizes.samples * rows() * sizes.columns, NAN);
    REQUIRE(cuda::launch_fisher_factor(factored(), result.data(), nullptr) == cudaSuccess);
    return result;
  }

  // Begins from a matrix whose upper triangle must not be read.
  template <typename T>
  std::vector<T> accumulated(T scale) const {
    std::vector<T> fisher(sizes.columns * sizes.columns, T(NAN));
    for (int64_t i = 0; i < sizes.columns; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        fisher[i * sizes.columns + j] = T(0.25);
      }
    }
    const auto shape = cuda::gram_shape(sizes.samples, sizes.columns);
    std::vector<T> partial(shape.elements(), T(NAN));
    REQUIRE(cuda::launch_fisher_accumulate(factored(), scale, fisher.data(), partial.data(),
                                           nullptr) == cudaSuccess);
    return fisher;
  }
};

const std::vector<Sizes> kSizes{{1, 2, 1},    {3, 2, 5},    {5, 10, 128}, {2, 10, 130}, {9, 3, 65},
                                {1, 1000, 3}, {40, 10, 64}, {0, 4, 3},    {2, 3, 0}};

}  // namespace

TEST_CASE_TEMPLATE("the factor is the CPU's", Entry, double, float) {
  for (const Convention convention : {Convention::kFisher, Convention::kReleased}) {
    for (const Sizes& sizes : kSizes) {
      CAPTURE(sizes.classes);
      const Batch<Entry> batch(convention, sizes);
      std::vector<double> expected(sizes.samples * batch.rows() * sizes.columns);
      write_fisher_factor(batch.factored(), expected.data(), serially);
      const auto actual = batch.factor();
      // The running sum of up to 1,000 classes is rounded in another order of operations.
      const double bound = 8.0 * sizes.classes * std::numeric_limits<double>::epsilon();
      for (size_t i = 0; i < expected.size(); ++i) {
        REQUIRE(std::abs(actual[i] - expected[i]) <= bound);
      }
      CHECK(cuda::same_in_both_orders([&] { return batch.factor(); }));
    }
  }
}

TEST_CASE_TEMPLATE("the Fisher matrix is the CPU's, and exactly symmetric", T, double, float) {
  for (const Convention convention : {Convention::kFisher, Convention::kReleased}) {
    for (const Sizes& sizes : kSizes) {
      CAPTURE(sizes.columns);
      const Batch<T> batch(convention, sizes);
      const int64_t size = sizes.columns;
      std::vector<T> expected(size * size, T(0.25));
      accumulate_fisher<T>(batch.factored(), T(0.5), expected.data(), serially);
      const std::vector<T> actual = batch.accumulated(T(0.5));
      T largest = T(1);
      for (const T value : expected) {
        largest = std::max(largest, std::abs(value));
      }
      const T rows = static_cast<T>(sizes.samples * batch.rows() + 8);
      for (int64_t i = 0; i < size; ++i) {
        for (int64_t j = 0; j < size; ++j) {
          REQUIRE(actual[i * size + j] == actual[j * size + i]);
          REQUIRE(std::abs(actual[i * size + j] - expected[i * size + j]) <=
                  rows * std::numeric_limits<T>::epsilon() * largest);
        }
      }
      CHECK(cuda::same_in_both_orders([&] { return batch.accumulated(T(0.5)); }));
    }
  }
}

TEST_CASE("many columns take their tiles without partial sums") {
  const Batch<float> batch(Convention::kFisher, {1, 2, 64 * 33});
  REQUIRE(cuda::gram_shape(1, 64 * 33).splits == 1);
  const auto fisher = batch.accumulated(1.0f);
  const auto factor = batch.factor();
  for (int64_t i = 0; i < 64 * 33; i += 97) {
    for (int64_t j = 0; j <= i; j += 31) {
      CHECK(fisher[i * 64 * 33 + j] == doctest::Approx(0.25 + factor[i] * factor[j]).epsilon(1e-5));
    }
  }
}

TEST_CASE("every tile of the lower triangle has one number") {
  for (int64_t row = 0, number = 0; row < 200; ++row) {
    for (int64_t column = 0; column <= row; ++column, ++number) {
      const auto index = cuda::tile_index(number);
      REQUIRE(index.row == row);
      REQUIRE(index.column == column);
    }
  }
}

TEST_CASE("what are no probabilities is told by sample") {
  const auto status_of = [](Convention convention, std::vector<double> p) {
    std::vector<FactorStep> steps(2 * factor_rows(convention, 2));
    std::vector<SoftmaxStatus> status(2);
    p.insert(p.begin(), {0.5, 0.5});
    cuda::launch_softmax_steps(convention, p.data(), 2, 2, steps.data(), status.data(), nullptr);
    CHECK(status[0] == SoftmaxStatus::kFine);
    return status[1];
  };
  using enum SoftmaxStatus;
  CHECK(status_of(Convention::kFisher, {NAN, 0.5}) == kNotAProbability);
  CHECK(status_of(Convention::kFisher, {HUGE_VAL, 0.5}) == kNotAProbability);
  CHECK(status_of(Convention::kFisher, {-0.5, 1.5}) == kNotAProbability);
  CHECK(status_of(Convention::kFisher, {0.5, 0.6}) == kNotNormalised);
  CHECK(status_of(Convention::kReleased, {0.5, 0.6}) == kFine);
  CHECK(status_of(Convention::kReleased, {1.0, 0.0}) == kNoFactor);
  CHECK(status_of(Convention::kFisher, {1.0, 0.0}) == kFine);
}
