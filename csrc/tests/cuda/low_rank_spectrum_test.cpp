// The kernels of vkdnw::low_rank_spectrum against one-sided Jacobi in long double, pair by pair.
#include "kernels/cuda/low_rank_spectrum.h"

#include <doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "both_orders.h"

using namespace vkdnw;

namespace {

template <typename T>
struct Spectra {
  std::vector<T> eigenvalues;
  std::vector<SpectrumStatus> status;

  bool operator==(const Spectra&) const = default;
};

template <typename T>
Spectra<T> spectra_of(const std::vector<T>& factors, int64_t matrices, int64_t rows,
                      int64_t columns, cuda::JacobiPath path = cuda::JacobiPath::kBlocks) {
  cuda::SpectrumBatch<T> batch{};
  batch.factors = factors.data();
  batch.matrices = matrices;
  batch.rows = rows;
  batch.columns = columns;
  // Memory as it is found: full of NaN.
  std::vector<double> workspace(cuda::place_workspace(batch, nullptr) / 8, NAN);
  cuda::place_workspace(batch, reinterpret_cast<unsigned char*>(workspace.data()));
  Spectra<T> result;
  result.eigenvalues.assign(matrices * std::min(rows, columns), T(-1));
  batch.eigenvalues = result.eigenvalues.data();
  REQUIRE(cuda::launch_low_rank_spectrum(batch, path, nullptr) == cudaSuccess);
  result.status.assign(batch.status, batch.status + matrices);
  return result;
}

template <typename T>
std::vector<T> random_factor(int64_t rows, int64_t columns, unsigned seed = 0) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<T> factor(rows * columns);
  for (T& entry : factor) {
    entry = static_cast<T>(normal(generator));
  }
  return factor;
}

using Column = std::vector<long double>;

long double product(const Column& a, const Column& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0L);
}

// Whether the columns were orthogonal to rounding before they were made so.
bool orthogonalise(Column& a, Column& b) {
  const long double cross = product(a, b);
  const long double difference = product(b, b) - product(a, a);
  if (std::abs(cross) <= 1e-15L * std::sqrt(product(a, a) * product(b, b))) {
    return true;
  }
  const long double root = std::sqrt(difference * difference + 4 * cross * cross);
  const long double tangent = 2 * cross / (difference + std::copysign(root, difference));
  const long double cosine = 1 / std::sqrt(1 + tangent * tangent);
  for (size_t i = 0; i < a.size(); ++i) {
    const long double x = a[i];
    a[i] = cosine * (x - tangent * b[i]);
    b[i] = cosine * (b[i] + tangent * x);
  }
  return false;
}

// Eigenvalues of factor^T factor that can differ from zero, ascending.
template <typename T>
std::vector<double> reference(const std::vector<T>& factor, int64_t rows, int64_t columns) {
  const int64_t count = std::min(rows, columns);
  std::vector<Column> vectors(count, Column(std::max(rows, columns)));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      (rows < columns ? vectors[i][j] : vectors[j][i]) = factor[i * columns + j];
    }
  }
  for (bool done = false; !done;) {
    done = true;
    for (int64_t q = 1; q < count; ++q) {
      for (int64_t p = 0; p < q; ++p) {
        done &= orthogonalise(vectors[p], vectors[q]);
      }
    }
  }
  std::vector<double> spectrum;
  for (const Column& vector : vectors) {
    spectrum.push_back(static_cast<double>(product(vector, vector)));
  }
  std::sort(spectrum.begin(), spectrum.end());
  return spectrum;
}

// Largest relative difference, of eigenvalues above `floor` of the largest.
template <typename T>
double relative_error(const std::vector<T>& actual, const std::vector<double>& expected,
                      double floor) {
  double error = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] > floor * expected.back()) {
      const double difference = std::abs(actual[i] - expected[i]) / expected[i];
      error = std::isnan(difference) ? difference : std::max(error, difference);
    }
  }
  return error;
}

using Shape = std::pair<int64_t, int64_t>;

}  // namespace

TEST_CASE_TEMPLATE("random factors of any shape", T, double, float) {
  const double epsilon = std::numeric_limits<T>::epsilon();
  for (const auto& [rows, columns] : {Shape{1, 1},
                                      {1, 6},
                                      {6, 1},
                                      {4, 4},
                                      {5, 4},
                                      {9, 9},
                                      {33, 20},
                                      {20, 33},
                                      {90, 31},
                                      {40, 40},
                                      {70, 65}}) {
    CAPTURE(rows);
    CAPTURE(columns);
    const auto factor = random_factor<T>(rows, columns);
    const auto compute = [&] { return spectra_of<T>(factor, 1, rows, columns); };
    const auto spectra = compute();
    REQUIRE(spectra.status[0] == SpectrumStatus::kDone);
    CHECK(std::is_sorted(spectra.eigenvalues.begin(), spectra.eigenvalues.end()));
    const auto expected = reference(factor, rows, columns);
    // Backward stable: eps times size, against the smallest singular value.
    const double condition = std::sqrt(expected.back() / expected.front());
    CHECK(relative_error(spectra.eigenvalues, expected, 0.0) <=
          4 * epsilon * std::max(rows, columns) * condition);
    CHECK(cuda::same_in_both_orders(compute));
  }
}

TEST_CASE_TEMPLATE("columns over many decades keep every eigenvalue", T, double, float) {
  for (const auto& [rows, columns] : {Shape{30, 9}, {12, 12}, {9, 30}}) {
    for (const bool ascending : {false, true}) {
      auto factor = random_factor<T>(rows, columns);
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) {
          const double at = static_cast<double>(ascending ? columns - 1 - j : j);
          factor[i * columns + j] *= static_cast<T>(std::pow(10.0, -12.0 * at / (columns - 1)));
        }
      }
      const auto spectra = spectra_of<T>(factor, 1, rows, columns);
      REQUIRE(spectra.status[0] == SpectrumStatus::kDone);
      // The condition of the random matrix is below 1e2 here.
      const double bound = 4 * 30 * 1e2 * std::numeric_limits<T>::epsilon();
      CHECK(relative_error(spectra.eigenvalues, reference(factor, rows, columns), 0.0) <= bound);
    }
  }
}

TEST_CASE_TEMPLATE("the sizes of use: 1e-4 in float32, 1e-12 in float64", T, double, float) {
  // Geometric singular values over three decades: eigenvalues down to 1e-6 of the largest.
  const int64_t columns = 128;
  const int64_t rows = 144;
  auto factor = random_factor<T>(rows, columns);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      factor[i * columns + j] *= static_cast<T>(std::pow(10.0, -3.0 * j / (columns - 1)));
    }
  }
  const auto spectra = spectra_of<T>(factor, 1, rows, columns);
  REQUIRE(spectra.status[0] == SpectrumStatus::kDone);
  CHECK(relative_error(spectra.eigenvalues, reference(factor, rows, columns), 1e-6) <=
        (sizeof(T) == 8 ? 1e-12 : 1e-4));
}

TEST_CASE("a device with little shared memory gives the same bits") {
  const auto factor = random_factor<double>(40, 40);
  const auto large = spectra_of<double>(factor, 1, 40, 40);
  cuda_shim::device().shared_bytes = 16 * 1024;
  const auto small = spectra_of<double>(factor, 1, 40, 40);
  cuda_shim::device().shared_bytes = cuda_shim::Device{}.shared_bytes;
  CHECK(small == large);
}

TEST_CASE("with more than 128 columns a lane holds eight rows") {
  const int64_t columns = 129;
  // Nearly orthogonal, so that few sweeps do.
  auto factor = random_factor<float>(columns, columns);
  for (int64_t i = 0; i < columns * columns; ++i) {
    factor[i] = 0.01f * factor[i] + (i % (columns + 1) == 0 ? 1.0f : 0.0f);
  }
  const auto spectra = spectra_of<float>(factor, 1, columns, columns);
  REQUIRE(spectra.status[0] == SpectrumStatus::kDone);
  // eps times size; the singular values lie between 0.5 and 2.
  CHECK(relative_error(spectra.eigenvalues, reference(factor, columns, columns), 0.0) <=
        4 * columns * std::numeric_limits<float>::epsilon());
}

TEST_CASE_TEMPLATE("columns in global memory, a launch a round", T, double, float) {
  CHECK(cuda::jacobi_path(256) == cuda::JacobiPath::kBlocks);
  CHECK(cuda::jacobi_path(257) == cuda::JacobiPath::kPairs);
  for (const auto& [rows, columns] : {Shape{1, 1}, {2, 2}, {30, 21}, {7, 12}}) {
    CAPTURE(columns);
    auto factors = random_factor<T>(2 * rows, columns);
    factors[0] *= T(1e3);  // one matrix may need more sweeps than the other
    const auto compute = [&] {
      return spectra_of<T>(factors, 2, rows, columns, cuda::JacobiPath::kPairs);
    };
    const auto spectra = compute();
    const auto by_blocks = spectra_of<T>(factors, 2, rows, columns);
    CHECK(spectra.status == by_blocks.status);
    // The entry made a thousand times larger takes the condition to 1e4 at most.
    const double bound = 1e4 * rows * std::numeric_limits<T>::epsilon();
    for (size_t i = 0; i < spectra.eigenvalues.size(); ++i) {
      CHECK(spectra.eigenvalues[i] == doctest::Approx(by_blocks.eigenvalues[i]).epsilon(bound));
    }
    CHECK(cuda::same_in_both_orders(compute));
  }
}

TEST_CASE("a small factor by either path") {
  const auto factor = random_factor<double>(6, 5);
  const auto blocks = spectra_of<double>(factor, 1, 6, 5);
  const auto pairs = spectra_of<double>(factor, 1, 6, 5, cuda::JacobiPath::kPairs);
  for (size_t i = 0; i < blocks.eigenvalues.size(); ++i) {
    CHECK(pairs.eigenvalues[i] == doctest::Approx(blocks.eigenvalues[i]).epsilon(1e-9));
  }
}

TEST_CASE_TEMPLATE("rank-deficient factors", T, double, float) {
  std::vector<T> ones(9 * 4, T(1));
  const auto spectra = spectra_of<T>(ones, 1, 9, 4);
  REQUIRE(spectra.status[0] == SpectrumStatus::kDone);
  CHECK(spectra.eigenvalues[3] == doctest::Approx(36.0));
  const double rounding = 36 * std::numeric_limits<T>::epsilon();
  for (int i = 0; i < 3; ++i) {
    CHECK(spectra.eigenvalues[i] >= T(0));
    CHECK(spectra.eigenvalues[i] <= rounding * rounding);
  }
  const auto zero = spectra_of<T>(std::vector<T>(12, T(0)), 1, 4, 3);
  CHECK(zero.status[0] == SpectrumStatus::kDone);
  CHECK(zero.eigenvalues == std::vector<T>(3, T(0)));
}

TEST_CASE("every matrix of a batch has its own status") {
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    auto factors = random_factor<double>(4 * 6, 5);
    factors[30 + 7] = bad;
    for (int64_t i = 60; i < 90; ++i) {
      factors[i] *= 1e200;
    }
    const auto spectra = spectra_of<double>(factors, 4, 6, 5);
    using enum SpectrumStatus;
    CHECK(spectra.status == std::vector{kDone, kNotFinite, kOverflow, kDone});
    for (const int64_t matrix : {0, 3}) {
      const std::vector<double> alone(factors.begin() + matrix * 30,
                                      factors.begin() + (matrix + 1) * 30);
      const auto expected = spectra_of<double>(alone, 1, 6, 5).eigenvalues;
      CHECK(std::equal(expected.begin(), expected.end(), spectra.eigenvalues.begin() + matrix * 5));
    }
  }
}

TEST_CASE_TEMPLATE("numbers at the ends of the range", T, double, float) {
  const bool wide = sizeof(T) == 8;
  for (const double scale : {wide ? 1e-308 : 1e-38, wide ? 1e-150 : 1e-18, wide ? 1e150 : 1e18}) {
    CAPTURE(scale);
    const T unit = static_cast<T>(scale);
    const auto spectra = spectra_of<T>({3 * unit, 0, 0, 4 * unit}, 1, 2, 2);
    REQUIRE(spectra.status[0] == SpectrumStatus::kDone);
    CHECK(spectra.eigenvalues[0] == doctest::Approx(static_cast<double>(9 * unit * unit)));
    CHECK(spectra.eigenvalues[1] == doctest::Approx(static_cast<double>(16 * unit * unit)));
  }
}

TEST_CASE("in one tournament every pair meets once") {
  for (const int players : {2, 4, 6, 32}) {
    std::set<std::pair<int, int>> met;
    for (int round = 0; round < players - 1; ++round) {
      std::set<int> present;
      for (int number = 0; number < players / 2; ++number) {
        const auto meeting = cuda::match(players, round, number);
        CHECK(meeting.first < meeting.second);
        CHECK(met.emplace(meeting.first, meeting.second).second);
        present.insert({meeting.first, meeting.second});
      }
      CHECK(static_cast<int>(present.size()) == players);
    }
    CHECK(static_cast<int>(met.size()) == players * (players - 1) / 2);
  }
}

TEST_CASE("the seven masks make up all pairs of eight columns") {
  std::set<std::pair<int, int>> met;
  const auto add = [&]<int kMask>() {
    for (int pair = 0; pair < cuda::kBlockColumns; ++pair) {
      const int p = cuda::first_of_pair<kMask>(pair);
      CHECK(p < (p ^ kMask));
      CHECK(met.emplace(p, p ^ kMask).second);
    }
  };
  add.operator()<1>();
  add.operator()<2>();
  add.operator()<3>();
  add.operator()<4>();
  add.operator()<5>();
  add.operator()<6>();
  add.operator()<7>();
  CHECK(met.size() == 28);
}
