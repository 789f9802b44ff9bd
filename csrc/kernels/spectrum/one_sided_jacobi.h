// One-sided Jacobi (Hestenes): rotates pairs of columns until all are orthogonal. Their norms are
// then the singular values, small ones as accurate as the columns are known (Demmel and Veselic
// 1992), which methods that go through a bidiagonal or a Gram matrix cannot give.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/spectrum/column_matrix.h"
#include "kernels/spectrum/spectrum_scaling.h"

namespace vkdnw {

namespace jacobi {

// Columns per block. Sweeps converge more slowly with larger blocks.
inline constexpr int64_t kBlock = 4;

// Two pairs of blocks meet at a time, in rounds of disjoint pairs of columns, whose rotations do
// not wait for one another.
inline constexpr int64_t kPairs = 2 * kBlock;

// Columns that meet should stay in the L1 cache from one round to the next: longer ones meet one
// pair of blocks at a time, which halves their number.
inline constexpr int64_t kCacheBytes = 40 * 1024;

// (large, small) <- (c large - s small, s large + c small); the large one ends up in `first`. With
// tau = s / (1 + c), c = 1 - s tau: written as a correction, a rotation by a small angle keeps
// norms to far better than eps (Rutishauser 1966), and a column is rotated a thousand times.
template <typename T>
inline void rotate(T* first, T* second, bool swapped, T s, T tau, int64_t padded_rows) {
  const T* large = swapped ? second : first;
  const T* small = swapped ? first : second;
  for (int64_t i = 0; i < padded_rows; i += kLaneCount<T>) {
    const Lanes<T> x = load_lanes(large + i);
    const Lanes<T> y = load_lanes(small + i);
    store_lanes(first + i, x - s * (y + tau * x));
    store_lanes(second + i, y + s * (x - tau * y));
  }
}

struct Block {
  int64_t first;
  int64_t count;  // of columns, up to kBlock; may be zero
};

// Disjoint pairs p[i] < q[i] of columns.
struct Round {
  int64_t pairs = 0;
  int64_t p[kPairs];
  int64_t q[kPairs];

  void add(int64_t a, int64_t b) {
    p[pairs] = std::min(a, b);
    q[pairs] = std::max(a, b);
    ++pairs;
  }
};

// Round-robin tournament within a block: over kBlock - 1 rounds, every pair meets once.
inline void add_within(Block block, int64_t round, Round& result) {
  constexpr int64_t kOthers = kBlock - 1;
  for (int64_t i = 0; i < kBlock / 2; ++i) {
    const int64_t a = i == 0 ? kOthers : (round + i) % kOthers;
    const int64_t b = (round + kOthers - i) % kOthers;
    if (std::max(a, b) < block.count) {
      result.add(block.first + a, block.first + b);
    }
  }
}

// The columns of two blocks meet one to one; over kBlock rounds, every one meets every one.
inline void add_across(Block before, Block after, int64_t round, Round& result) {
  for (int64_t a = 0; a < before.count; ++a) {
    const int64_t b = (a + round) % kBlock;
    if (b < after.count) {
      result.add(before.first + a, after.first + b);
    }
  }
}

// The rotations of a round, from the inner products and squared norms of its pairs.
template <typename T>
struct Angles {
  T product[kPairs] = {};
  T large[kPairs] = {};
  T small[kPairs] = {};
  T squared_cosine[kPairs];
  T t[kPairs];    // tangent of the angle of rotation, |t| <= 1
  T s[kPairs];    // its sine
  T tau[kPairs];  // tangent of half of it

  void solve() {
    for (int64_t i = 0; i < kPairs; ++i) {  // a fixed number, for the sake of vectors
      const T g = product[i];
      const T d = large[i] - small[i];
      const T h = std::sqrt(d * d + T(4) * g * g);
      // Products that underflow belong to columns far below the accuracy of all others.
      squared_cosine[i] =
          g * g >= std::numeric_limits<T>::min() ? g * g / (large[i] * small[i]) : T(0);
      t[i] = T(-2) * g / (d + h);
      const T c = std::sqrt((d + h) / (h + h));
      s[i] = c * t[i];
      tau[i] = s[i] / (T(1) + c);
    }
  }
};

template <typename T>
class Orthogonaliser {
 public:
  explicit Orthogonaliser(ColumnMatrix<T>& x)
      : x_(x),
        padded_(x.padded_rows()),
        tolerance_(std::sqrt(static_cast<T>(x.rows())) * std::numeric_limits<T>::epsilon()),
        norms_(x.columns()) {}

  // False when the columns are still not orthogonal after kMostSweeps.
  bool run() {
    for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
      run_sweep();
      // Convergence is quadratic, unless nearly equal columns turn by large angles: what is left
      // after this sweep is of the order of the product (LAPACK's dgesvj stops by the same rule).
      if (static_cast<T>(x_.columns()) * largest_cosine_ * largest_sine_ < tolerance_) {
        return true;
      }
    }
    return false;
  }

 private:
  // Two blocks at a time meet themselves and all later ones: nearly the order row by row, which
  // converges fastest when long columns come first.
  void run_sweep() {
    const int64_t n = x_.columns();
    largest_cosine_ = largest_sine_ = T(0);
    for (int64_t j = 0; j < n; ++j) {
      norms_[j] = squared_norm(x_.column(j), padded_);
    }
    for (int64_t i = 0; i < n; i += 2 * kBlock) {
      const Block i0 = block(i);
      const Block i1 = block(i + kBlock);
      meet_within(i0, i1);
      for (int64_t j = i + 2 * kBlock; j < n; j += 2 * kBlock) {
        const Block j0 = block(j);
        const Block j1 = block(j + kBlock);
        meet_across(i0, j0, i1, j1);
        meet_across(i0, j1, i1, j0);
      }
    }
  }

  Block block(int64_t first) const {
    return {first, std::clamp<int64_t>(x_.columns() - first, 0, kBlock)};
  }

  void meet_within(Block i0, Block i1) {
    for (int64_t number = 0; number < kBlock - 1; ++number) {
      Round round;
      add_within(i0, number, round);
      add_within(i1, number, round);
      meet(round);
    }
    meet_across(i0, i1);
  }

  void meet_across(Block before, Block after) {
    for (int64_t number = 0; number < kBlock; ++number) {
      Round round;
      add_across(before, after, number, round);
      meet(round);
    }
  }

  void meet_across(Block i0, Block j0, Block i1, Block j1) {
    if (4 * kBlock * padded_ * static_cast<int64_t>(sizeof(T)) > kCacheBytes) {
      meet_across(i0, j0);
      meet_across(i1, j1);
      return;
    }
    for (int64_t number = 0; number < kBlock; ++number) {
      Round round;
      add_across(i0, j0, number, round);
      add_across(i1, j1, number, round);
      meet(round);
    }
  }

  void meet(const Round& round) {
    Angles<T> angles;
    measure(round, angles);
    angles.solve();
    turn(round, angles);
  }

  void measure(const Round& round, Angles<T>& angles) const {
    for (int64_t i = 0; i < round.pairs; ++i) {
      const int64_t p = round.p[i];
      const int64_t q = round.q[i];
      angles.product[i] = dot(x_.column(p), x_.column(q), padded_);
      angles.large[i] = std::max(norms_[p], norms_[q]);
      angles.small[i] = std::min(norms_[p], norms_[q]);
    }
  }

  // Rotates the pairs that are not orthogonal; the longer column moves to p.
  void turn(const Round& round, const Angles<T>& angles) {
    for (int64_t i = 0; i < round.pairs; ++i) {
      if (angles.squared_cosine[i] > tolerance_ * tolerance_) {
        const int64_t p = round.p[i];
        const int64_t q = round.q[i];
        const T transfer = angles.t[i] * angles.product[i];
        rotate(x_.column(p), x_.column(q), norms_[p] < norms_[q], angles.s[i], angles.tau[i],
               padded_);
        norms_[p] = angles.large[i] - transfer;
        norms_[q] = remaining_norm(q, angles.small[i], angles.small[i] + transfer);
        largest_cosine_ = std::max(largest_cosine_, std::sqrt(angles.squared_cosine[i]));
        largest_sine_ = std::max(largest_sine_, std::abs(angles.s[i]));
      }
    }
  }

  // An updated norm only steers the rotations, but not once most of it has cancelled.
  T remaining_norm(int64_t column, T before, T updated) const {
    return updated < T(1e-3) * before ? squared_norm(x_.column(column), padded_) : updated;
  }

  ColumnMatrix<T>& x_;
  int64_t padded_;
  T tolerance_;
  AlignedBuffer<T> norms_;  // squared
  T largest_cosine_ = 0;    // of the pairs that the sweep has rotated
  T largest_sine_ = 0;
};

}  // namespace jacobi

// Orthogonalises the columns. Squares of their inner products must neither overflow nor, where
// they matter, underflow: scale the matrix before. False when the iteration does not converge.
template <typename T>
bool orthogonalise_columns(ColumnMatrix<T>& x) {
  return jacobi::Orthogonaliser<T>(x).run();
}

}  // namespace vkdnw
