// A sum of feature maps on NHWC float32, some of them normalised or pooled on the way, and the mask
// of the ReLU that reads the sum.
//
// Sums are taken from left to right, as if every normalised or pooled map had been stored first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/layers/avg_pool3x3.h"
#include "kernels/layers/batch_norm.h"
#include "kernels/layers/relu_mask.h"
#include "kernels/simd/aligned_buffer.h"
#include "kernels/simd/simd.h"

namespace vkdnw::normalised_sum {

struct Summand {
  const float* x;               // [samples, height, width, channels]
  batch_norm::Coefficients by;  // without a slope; all null where nothing is normalised
  bool pooled;  // by kernels/layers/avg_pool3x3.h; not together with a normalisation
};

struct Sum {
  int64_t samples;
  int64_t height;
  int64_t width;
  int64_t channels;  // a multiple of batch_norm::kChannelMultiple
  std::vector<Summand> summands;
  float* result;
  uint8_t* mask;  // see kernels/layers/relu_mask.h

  int64_t rows() const { return samples * height; }
  int64_t floats_per_row() const { return width * channels; }
};

inline void add(const float* a, const float* b, int64_t count, float* target) {
  for (int64_t i = 0; i < count; i += kNativeBytes / 4) {
    store_simd<kNativeBytes>(target + i,
                             load_simd<kNativeBytes>(a + i) + load_simd<kNativeBytes>(b + i));
  }
}

// Adds up some rows at a time, as many as stay in level 1 from summand to summand.
class SumWorker {
 public:
  explicit SumWorker(const Sum& problem)
      : problem_(problem),
        most_rows_(std::max<int64_t>(1, batch_norm::kChunk / problem.floats_per_row())),
        pooled_(most_rows_ * problem.floats_per_row()) {}

  // Computes rows [first, last) of problem.rows().
  void run(int64_t first, int64_t last) {
    for (int64_t begin = first; begin < last; begin += most_rows_) {
      add_rows(begin, std::min(most_rows_, last - begin));
    }
  }

 private:
  void add_rows(int64_t first, int64_t count) {
    float* target = problem_.result + first * problem_.floats_per_row();
    const float* sum = nullptr;
    for (const Summand& summand : problem_.summands) {
      sum = add_summand(summand, sum, first, count, target);
    }
    if (sum != target) {
      std::copy_n(sum, count * problem_.floats_per_row(), target);
    }
    const relu::Masking masking{.pixels = problem_.rows() * problem_.width,
                                .channels = problem_.channels,
                                .relu = problem_.result,
                                .mask = problem_.mask};
    relu::mask_pixels(masking, first * problem_.width, (first + count) * problem_.width);
  }

  // Where the sum is once a summand has been added: at first, where the summand is.
  const float* add_summand(const Summand& summand, const float* sum, int64_t first, int64_t count,
                           float* target) {
    const int64_t offset = first * problem_.floats_per_row();
    const int64_t pixels = count * problem_.width;
    if (summand.by.scale != nullptr) {
      const auto normalise =
          sum == nullptr ? &batch_norm::normalise<false> : &batch_norm::normalise<true>;
      normalise(summand.by, pixels, problem_.channels, summand.x + offset, sum, target);
      return target;
    }
    const float* x = summand.x + offset;
    if (summand.pooled) {
      x = pool(summand.x, first, count, sum == nullptr ? target : pooled_.data());
    }
    if (sum == nullptr) {
      return x;
    }
    add(sum, x, pixels * problem_.channels, target);
    return target;
  }

  // Rows of the pooled map, into `target`.
  const float* pool(const float* x, int64_t first, int64_t count, float* target) const {
    avg_pool::compute_rows<true>({.samples = problem_.samples,
                                  .height = problem_.height,
                                  .width = problem_.width,
                                  .channels = problem_.channels,
                                  .grad = x,
                                  .result = target - first * problem_.floats_per_row(),
                                  .add = false},
                                 first, first + count);
    return target;
  }

  const Sum& problem_;
  int64_t most_rows_;
  AlignedBuffer<float> pooled_;
};

}  // namespace vkdnw::normalised_sum
