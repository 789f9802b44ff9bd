// The data gradient of a convolution followed by BatchNorm with the batch's own statistics, with
// the backward of the ReLU in front folded in.
//
// BatchNorm's part is computed for a few samples at a time, into memory that stays in a core's
// cache until the convolution's part reads it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/conv/conv1x1.h"
#include "kernels/conv/strided_conv.h"
#include "kernels/conv/winograd3x3.h"
#include "kernels/layers/batch_norm.h"
#include "kernels/simd/aligned_buffer.h"

namespace vkdnw::norm_conv {

// What BatchNorm sends back to the convolution's output.
struct Norm {
  batch_norm::Size size;  // of the output
  batch_norm::Coefficients by;
  const float* grad;
  const float* x;  // the output itself
};

// Of one output for all samples of a piece: level 2 also holds patches and products of Winograd's
// algorithm, and may be shared by two threads. Wide convolutions fetch large weights for each
// piece.
inline constexpr int64_t kPieceNumbers = 16 * 1024;
inline constexpr int64_t kNarrowChannels = 32;

inline int64_t samples_per_piece(const batch_norm::Size& size) {
  const int64_t numbers = kPieceNumbers * (size.channels <= kNarrowChannels ? 1 : 2);
  return std::clamp<int64_t>(numbers / size.numbers(), 1, size.samples);
}

inline void run(winograd::InputGradient problem, const float* grad) {
  problem.sources[0].grad = grad;
  winograd::InputGradientWorker(problem).run(0, problem.tiles());
}

inline void run(conv1x1::InputGradient problem, const float* grad) {
  problem.sources[0].grad = grad;
  conv1x1::input_gradient(problem, 0, problem.samples * problem.pixels);
}

inline void run(strided_conv::InputGradient problem, const float* grad) {
  problem.grad = grad;
  strided_conv::InputGradientWorker(problem).run(0, problem.samples);
}

// Pieces [first, last) of samples_per_piece() samples, of which `input_numbers` are what one
// sample of the convolution's input has. `conv` is the convolution for all samples.
template <typename InputGradient>
void input_gradient(const Norm& norm, const InputGradient& conv, int64_t input_numbers,
                    int64_t first, int64_t last) {
  const int64_t piece = samples_per_piece(norm.size);
  const int64_t numbers = norm.size.numbers();
  AlignedBuffer<float> normalised(piece * numbers);
  for (int64_t begin = first * piece; begin < std::min(last * piece, norm.size.samples);
       begin += piece) {
    const int64_t count = std::min(piece, norm.size.samples - begin);
    batch_norm::input_gradient(norm.by, count * norm.size.pixels, norm.size.channels,
                               norm.grad + begin * numbers, norm.x + begin * numbers,
                               normalised.data());
    InputGradient part = conv;
    part.samples = count;
    part.target.data += begin * input_numbers;
    part.target.mask_first = begin;
    run(part, normalised.data());
  }
}

}  // namespace vkdnw::norm_conv
