// One-sided Jacobi (Hestenes): rotates pairs of columns until all are orthogonal. Their norms are
// then the singular values, small ones as accurate as the columns are known (Demmel and Veselic
// 1992), which methods that go through a bidiagonal or a Gram matrix cannot give.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/cuda/spectrum_scaling.h"
#include "kernels/cuda/warp.h"

namespace vkdnw::cuda {

// The squared cosine below which two columns count as orthogonal.
template <typename T>
__device__ T squared_tolerance(int64_t rows) {
  constexpr T kEpsilon = std::numeric_limits<T>::epsilon();
  return static_cast<T>(rows) * kEpsilon * kEpsilon;
}

// The largest of a sweep, over the pairs that were rotated.
template <typename T>
struct Largest {
  T squared_cosine = T(0);
  T sine = T(0);

  // Convergence is quadratic: the remainder after the sweep is of the order of the product.
  __device__ bool converged(int64_t columns, T squared_tolerance) const {
    const T left = static_cast<T>(columns) * std::sqrt(squared_cosine) * sine;
    return left < std::sqrt(squared_tolerance);
  }
};

// (large, small) <- (c large - s small, s large + c small). With tau = s / (1 + c), c = 1 - s tau:
// written as a correction, a rotation by a small angle keeps norms to far better than eps
// (Rutishauser 1966), and a column is rotated a thousand times.
template <typename T>
struct Rotation {
  bool wanted;
  bool swapped;      // the second column is the longer one; the longer one moves to the first
  T squared_cosine;  // of the angle between the columns
  T s;
  T tau;
  T transfer;  // of squared norm from the small to the large one

  __device__ Rotation(T product, T norm_first, T norm_second, T squared_tolerance)
      : wanted(false),
        swapped(norm_first < norm_second),
        squared_cosine(0),
        s(0),
        tau(0),
        transfer(0) {
    const T large = swapped ? norm_second : norm_first;
    const T small = swapped ? norm_first : norm_second;
    const T square = product * product;
    // Products that underflow belong to columns far below the accuracy of all others.
    if (square >= std::numeric_limits<T>::min()) {
      squared_cosine = square / (large * small);
    }
    wanted = squared_cosine > squared_tolerance;
    if (!wanted) {
      return;
    }
    const T d = large - small;
    const T h = std::sqrt(d * d + T(4) * square);
    const T t = T(-2) * product / (d + h);
    const T c = std::sqrt((d + h) / (h + h));
    s = c * t;
    tau = s / (T(1) + c);
    transfer = t * product;
  }

  __device__ void apply(T& first, T& second) const {
    const T x = swapped ? second : first;
    const T y = swapped ? first : second;
    first = x - s * (y + tau * x);
    second = y + s * (x - tau * y);
  }

  __device__ void note(Largest<T>& largest) const {
    largest.squared_cosine = larger(largest.squared_cosine, squared_cosine);
    largest.sine = larger(largest.sine, std::abs(s));
  }
};

// An updated norm only steers the rotations, but not once most of it has cancelled.
template <typename T>
__device__ bool norm_has_cancelled(T updated, T before) {
  return updated < T(1e-3) * before;
}

// Round-robin tournament of an even number of players: over players - 1 rounds every pair meets
// once. The players of match `number`, the smaller first.
struct Match {
  int first;
  int second;
};

__host__ __device__ inline Match match(int players, int round, int number) {
  const int others = players - 1;
  const int a = number == 0 ? others : (round + number) % others;
  const int b = (round + others - number) % others;
  return a < b ? Match{a, b} : Match{b, a};
}

}  // namespace vkdnw::cuda
