#include "kernels/spectrum/low_rank_spectrum.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <utility>
#include <vector>

using namespace vkdnw;

namespace {

ColumnMatrix<double> random_matrix(int64_t rows, int64_t columns) {
  std::mt19937 generator(0);
  std::normal_distribution<double> normal;
  ColumnMatrix<double> a(rows, columns);
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) {
      a.column(j)[i] = normal(generator);
    }
  }
  return a;
}

double gram(ColumnMatrix<double>& a, int64_t i, int64_t j) {
  return dot(a.column(i), a.column(j), a.padded_rows());
}

double cosine(ColumnMatrix<double>& a, int64_t i, int64_t j) {
  return gram(a, i, j) / std::sqrt(gram(a, i, i) * gram(a, j, j));
}

// [columns, columns], zero below the diagonal.
ColumnMatrix<double> upper_triangle(const ColumnMatrix<double>& a) {
  ColumnMatrix<double> r(a.columns(), a.columns());
  for (int64_t j = 0; j < a.columns(); ++j) {
    std::copy(a.column(j), a.column(j) + j + 1, r.column(j));
  }
  return r;
}

}  // namespace

TEST_CASE("R of a QR without pivoting has the Gram matrix of A") {
  for (const auto& [rows, columns] : {std::pair{1, 1}, {9, 9}, {40, 3}, {40, 13}, {65, 32}}) {
    CAPTURE(columns);
    auto a = random_matrix(rows, columns);
    auto reduced = random_matrix(rows, columns);
    reduce_to_triangle(reduced);
    auto r = upper_triangle(reduced);
    for (int64_t i = 0; i < columns; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        CHECK(gram(r, i, j) == doctest::Approx(gram(a, i, j)).epsilon(1e-12).scale(rows));
      }
    }
  }
}

TEST_CASE("a pivoted R has a descending diagonal and stops at the rank") {
  auto a = random_matrix(20, 12);
  for (int64_t j = 4; j < 12; ++j) {
    std::copy(a.column(j % 4), a.column(j % 4) + 20, a.column(j));
  }
  const auto triangle = pivoted_triangle_transposed(a);
  CHECK(triangle.columns() >= 4);
  for (int64_t k = 0; k + 1 < triangle.columns(); ++k) {
    CHECK(std::abs(triangle.column(k)[k]) >= std::abs(triangle.column(k + 1)[k + 1]));
  }
  for (int64_t k = 4; k < triangle.columns(); ++k) {
    CHECK(std::abs(triangle.column(k)[k]) < 1e-14);
  }
  ColumnMatrix<double> zero(5, 3);
  CHECK(pivoted_triangle_transposed(zero).columns() == 0);
}

TEST_CASE("in one sweep every pair of columns meets once") {
  for (const int64_t count : {1, 2, 3, 4}) {
    const jacobi::Block block{.first = 10, .count = count};
    std::set<std::pair<int64_t, int64_t>> met;
    for (int64_t number = 0; number < jacobi::kBlock - 1; ++number) {
      jacobi::Round round;
      jacobi::add_within(block, number, round);
      std::set<int64_t> columns;
      for (int64_t i = 0; i < round.pairs; ++i) {
        CHECK(met.emplace(round.p[i], round.q[i]).second);
        columns.insert({round.p[i], round.q[i]});
      }
      CHECK(static_cast<int64_t>(columns.size()) == 2 * round.pairs);
    }
    CHECK(static_cast<int64_t>(met.size()) == count * (count - 1) / 2);

    const jacobi::Block other{.first = 20, .count = 3};
    std::set<std::pair<int64_t, int64_t>> across;
    for (int64_t number = 0; number < jacobi::kBlock; ++number) {
      jacobi::Round round;
      jacobi::add_across(block, other, number, round);
      for (int64_t i = 0; i < round.pairs; ++i) {
        CHECK(across.emplace(round.p[i], round.q[i]).second);
      }
    }
    CHECK(static_cast<int64_t>(across.size()) == 3 * count);
  }
}

TEST_CASE("columns end up orthogonal and keep their Frobenius norm") {
  for (const int64_t n : {1, 2, 7, 8, 9, 16, 21, 330}) {  // 330: longer than the cache holds
    CAPTURE(n);
    auto x = random_matrix(n, n);
    double before = 0, after = 0;
    for (int64_t j = 0; j < n; ++j) {
      before += gram(x, j, j);
    }
    REQUIRE(orthogonalise_columns(x));
    double largest = 0;
    for (int64_t i = 0; i < n; ++i) {
      after += gram(x, i, i);
      for (int64_t j = 0; j < i; ++j) {
        largest = std::max(largest, std::abs(cosine(x, i, j)));
      }
    }
    CHECK(largest < n * std::numeric_limits<double>::epsilon());
    CHECK(after == doctest::Approx(before).epsilon(1e-12));
  }
}

TEST_CASE("the spectrum of a matrix of known singular values") {
  // Columns of a Hadamard matrix, scaled over 200 decades.
  const int64_t n = 16;
  std::vector<double> factor(n * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const double sign = __builtin_popcountll(i & j) % 2 ? -1.0 : 1.0;
      factor[i * n + j] = sign * std::pow(10.0, -8.0 * j);
    }
  }
  std::vector<double> spectrum(n);
  REQUIRE(spectrum_from_factor(factor.data(), n, n, spectrum.data()) == SpectrumStatus::kDone);
  for (int64_t j = 0; j < n; ++j) {
    CHECK(spectrum[n - 1 - j] == doctest::Approx(n * std::pow(10.0, -16.0 * j)).epsilon(1e-14));
  }
}

TEST_CASE("what is not finite is reported") {
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    std::vector<double> factor{1, 2, bad, 4};
    std::vector<double> spectrum(2);
    CHECK(spectrum_from_factor(factor.data(), 2, 2, spectrum.data()) == SpectrumStatus::kNotFinite);
  }
  std::vector<double> large{1e200};
  std::vector<double> spectrum(1);
  CHECK(spectrum_from_factor(large.data(), 1, 1, spectrum.data()) == SpectrumStatus::kOverflow);
}

TEST_CASE("numbers at the ends of the range") {
  for (const double scale : {5e-324, 1e-308, 1e-150, 1e150}) {
    CAPTURE(scale);
    std::vector<double> factor{3 * scale, 0, 0, 4 * scale};
    std::vector<double> spectrum(2);
    REQUIRE(spectrum_from_factor(factor.data(), 2, 2, spectrum.data()) == SpectrumStatus::kDone);
    CHECK(spectrum[0] == doctest::Approx(9 * scale * scale).epsilon(1e-15));
    CHECK(spectrum[1] == doctest::Approx(16 * scale * scale).epsilon(1e-15));
  }
}
