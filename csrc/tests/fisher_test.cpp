#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/fisher/fisher_accumulate.h"
#include "kernels/fisher/fisher_factor.h"
#include "kernels/fisher/softmax_factor.h"

using namespace vkdnw;

namespace {

// Calls f on ranges of at most two items, last first: no result may depend on the split.
const auto in_pieces = [](int64_t begin, int64_t end, int64_t, const auto& f) {
  for (int64_t last = end; last > begin; last -= 2) {
    f(std::max(begin, last - 2), last);
  }
};

const auto at_once = [](int64_t begin, int64_t end, int64_t, const auto& f) { f(begin, end); };

struct Batch {
  Convention convention;
  int64_t samples, classes, columns;
  std::vector<double> p;
  std::vector<double> jacobian;
  std::vector<FactorStep> steps;

  Batch(Convention convention, int64_t samples, int64_t classes, int64_t columns)
      : convention(convention), samples(samples), classes(classes), columns(columns) {
    std::mt19937 generator(0);
    std::normal_distribution<double> normal;
    const int64_t rows = factor_rows(convention, classes);
    steps.resize(samples * rows);
    for (int64_t n = 0; n < samples; ++n) {
      double sum = 0;
      for (int64_t j = 0; j < classes; ++j) {
        p.push_back(std::exp(normal(generator)));
        sum += p.back();
      }
      for (int64_t j = 0; j < classes; ++j) {
        p[n * classes + j] /= sum;
      }
      REQUIRE(factor_steps(convention, &p[n * classes], classes, &steps[n * rows]));
    }
    for (int64_t i = 0; i < samples * (classes - 1) * columns; ++i) {
      jacobian.push_back(normal(generator));
    }
  }

  FactoredJacobian<double> factored() const {
    return {convention, samples,     (classes), columns, jacobian.data(), (classes - 1) * columns,
            columns,    steps.data()};
  }

  // J of one class; the last is zero, which the covariance cannot tell from any other.
  double entry(int64_t n, int64_t j, int64_t column) const {
    return j == classes - 1 ? 0.0 : jacobian[(n * (classes - 1) + j) * columns + column];
  }

  // sum_n J^T (diag p - p p^T) J, an element at a time.
  double covariance_form(int64_t a, int64_t b) const {
    double sum = 0;
    for (int64_t n = 0; n < samples; ++n) {
      double mean_a = 0, mean_b = 0;
      for (int64_t j = 0; j < classes; ++j) {
        const double weight = p[n * classes + j];
        sum += weight * entry(n, j, a) * entry(n, j, b);
        mean_a += weight * entry(n, j, a);
        mean_b += weight * entry(n, j, b);
      }
      sum -= mean_a * mean_b;
    }
    return sum;
  }
};

}  // namespace

TEST_CASE("the steps of either convention multiply to the softmax covariance") {
  const std::vector<double> p{0.5, 0.2, 0.25, 0.05};
  const int64_t classes = 4;
  const std::vector<double> identity{1, 0, 0, 0, 1, 0, 0, 0, 1};  // [classes - 1, classes - 1]
  // L L^T from the rows of L, which the released convention applies to the identity.
  std::vector<FactorStep> steps(classes);
  REQUIRE(factor_steps(Convention::kReleased, p.data(), classes, steps.data()));
  std::vector<double> factor(classes * (classes - 1));
  write_fisher_factor(FactoredJacobian<double>{Convention::kReleased, 1, classes, classes - 1,
                                               identity.data(), 9, 3, steps.data()},
                      factor.data(), at_once);
  for (int64_t i = 0; i < classes; ++i) {
    for (int64_t j = 0; j < classes; ++j) {
      double product = 0;
      for (int64_t l = 0; l < classes - 1; ++l) {
        product += factor[i * 3 + l] * factor[j * 3 + l];
      }
      CHECK(product == doctest::Approx((i == j ? p[i] : 0.0) - p[i] * p[j]));
    }
  }
}

TEST_CASE("a class without probability has a row of zeros, in the limit") {
  const std::vector<double> p{0.0, 1.0, 0.0};
  std::vector<FactorStep> steps(2);
  REQUIRE(factor_steps(Convention::kFisher, p.data(), 3, steps.data()));
  for (const FactorStep& step : steps) {
    CHECK(step.own == 0.0);
    CHECK(step.sum == 0.0);
  }
  CHECK_FALSE(factor_steps(Convention::kReleased, p.data(), 3, std::vector<FactorStep>(3).data()));
}

TEST_CASE("the Fisher matrix equals the covariance form and is exactly symmetric") {
  for (const int64_t columns : {1, 5, 16, 33}) {
    CAPTURE(columns);
    const Batch batch(Convention::kFisher, 4, 90, columns);  // 356 rows: two tiles
    std::vector<double> fisher(columns * columns, 0.5);
    accumulate_fisher<double>(batch.factored(), 2.0, fisher.data(), at_once);
    for (int64_t a = 0; a < columns; ++a) {
      for (int64_t b = 0; b < columns; ++b) {
        CHECK(fisher[a * columns + b] == fisher[b * columns + a]);
        CHECK(fisher[a * columns + b] ==
              doctest::Approx(0.5 + 2.0 * batch.covariance_form(a, b)).epsilon(1e-12));
      }
    }
    std::vector<double> pieces(columns * columns, 0.5);
    accumulate_fisher<double>(batch.factored(), 2.0, pieces.data(), in_pieces);
    CHECK(pieces == fisher);
  }
}

TEST_CASE("the factor multiplied by itself is what is accumulated") {
  for (const Convention convention : {Convention::kFisher, Convention::kReleased}) {
    const Batch batch(convention, 3, 6, 21);
    const auto factored = batch.factored();
    std::vector<double> factor(factored.total_rows() * 21);
    write_fisher_factor(factored, factor.data(), in_pieces);
    std::vector<double> fisher(21 * 21);
    accumulate_fisher<double>(factored, 1.0, fisher.data(), at_once);
    for (int64_t a = 0; a < 21; ++a) {
      for (int64_t b = 0; b < 21; ++b) {
        double product = 0;
        for (int64_t row = 0; row < factored.total_rows(); ++row) {
          product += factor[row * 21 + a] * factor[row * 21 + b];
        }
        CHECK(fisher[a * 21 + b] == doctest::Approx(product).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("every pair of panels of the lower triangle occurs once") {
  for (const int64_t panels : {1, 7, 8, 9, 20}) {
    std::vector<int> seen(panels * panels, 0);
    for (const auto [row, column] : gram::lower_triangle_pairs(panels)) {
      ++seen[row * panels + column];
    }
    for (int64_t i = 0; i < panels; ++i) {
      for (int64_t j = 0; j < panels; ++j) {
        CHECK(seen[i * panels + j] == (j <= i ? 1 : 0));
      }
    }
  }
}
