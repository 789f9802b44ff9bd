// A convolution and the sums that a BatchNorm behind it takes over its output, which is a few
// samples at a time, so that they are summed up while they are in a core's cache.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/conv/winograd3x3.h"
#include "kernels/layers/batch_norm.h"

namespace vkdnw::conv_moments {

// Of the output for all samples of a piece. Level 2 also holds the input, and patches and
// products of Winograd's algorithm, whose blocks of tiles should not be cut too often.
inline constexpr int64_t kPieceFloats = 48 * 1024;

inline int64_t samples_per_piece(const batch_norm::Size& output) {
  return std::clamp<int64_t>(kPieceFloats / output.floats_per_sample(), 1, output.samples);
}

// Samples of a convolution by Winograd's algorithm.
class Conv3x3Worker {
 public:
  explicit Conv3x3Worker(const winograd::InputGradient& problem)
      : worker_(problem), tiles_(problem.tile_rows() * problem.tile_columns()) {}

  void run(int64_t first, int64_t last) { worker_.run(first * tiles_, last * tiles_); }

 private:
  winograd::InputGradientWorker worker_;
  int64_t tiles_;  // of one sample
};

// The output of a convolution, and the memory of its sums.
struct Output {
  batch_norm::Size size;
  const float* data;
  double* sums;  // [samples, 2, channels] of x - origin and its squares

  int64_t pieces() const {
    const int64_t piece = samples_per_piece(size);
    return (size.samples + piece - 1) / piece;
  }
};

// Pieces [first, last) of samples_per_piece() samples. Sums are relative to the first pixel of all
// samples, which must be there: the first piece comes before all others.
template <typename Worker>
void convolve(Worker& worker, const Output& output, int64_t first, int64_t last) {
  const batch_norm::Size& size = output.size;
  const int64_t piece = samples_per_piece(size);
  for (int64_t begin = first * piece; begin < std::min(last * piece, size.samples);
       begin += piece) {
    const int64_t end = std::min(begin + piece, size.samples);
    worker.run(begin, end);
    for (int64_t sample = begin; sample < end; ++sample) {
      const float* x = output.data + sample * size.floats_per_sample();
      batch_norm::sum_products<true, 1>(size, {x}, x, output.data,
                                        {output.sums + sample * 2 * size.channels});
    }
  }
}

}  // namespace vkdnw::conv_moments
