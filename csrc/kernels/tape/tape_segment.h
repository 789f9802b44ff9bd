// Runs one segment of a tape for a few samples: step by step, each by the kernel of its layer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/conv/conv1x1.h"
#include "kernels/conv/depthwise_conv.h"
#include "kernels/conv/strided_conv.h"
#include "kernels/conv/winograd3x3.h"
#include "kernels/layers/avg_pool3x3.h"
#include "kernels/layers/mean_pool.h"
#include "kernels/layers/scaled_copy.h"
#include "kernels/simd/aligned_buffer.h"
#include "kernels/simd/prefetch_queue.h"
#include "kernels/tape/signs.h"
#include "kernels/tape/tape.h"
#include "kernels/tape/tape_gradients.h"
#include "kernels/tape/tape_memory.h"
#include "kernels/tape/tape_norms.h"
#include "kernels/tape/tape_plan.h"
#include "kernels/tape/tape_products.h"

namespace vkdnw::tape {

// Copies the planes that are read of a value, for samples [first, first + count). `gradient` is
// that of the first of them.
inline void read_planes(const Tape& tape, int64_t value, const float* gradient, int64_t first,
                        int64_t count) {
  const auto by_value = [](const Reading& a, const Reading& b) { return a.value < b.value; };
  const auto [begin, end] = std::equal_range(
      tape.readings.begin(), tape.readings.end(),
      Reading{.value = value, .channel = 0, .planes = nullptr, .sample_stride = 0}, by_value);
  const Value& shape = tape.values[value];
  for (auto reading = begin; reading != end; ++reading) {
    for (int64_t sample = 0; sample < count; ++sample) {
      const float* source = gradient + sample * shape.floats() + reading->channel;
      float* plane = reading->planes + (first + sample) * reading->sample_stride;
      for (int64_t pixel = 0; pixel < shape.pixels(); ++pixel) {
        plane[pixel] = source[pixel * shape.channels];
      }
    }
  }
}

// Computes the gradients of one segment.
class SegmentWorker {
 public:
  SegmentWorker(const Tape& tape, const Plan& plan, int64_t segment, const Gradients& gradients,
                Norms& norms, Products& products)
      : tape_(tape),
        plan_(plan),
        segment_(plan.segments[segment]),
        sums_(plan.sums[segment]),
        gradients_(gradients),
        norms_(norms),
        products_(products),
        scratch_(segment_.piece * segment_.scratch),
        patches_(segment_.patches),
        normed_(segment_.piece * segment_.normed),
        transformed_(tape.values.size()),
        unpacked_(tape.cotangents.size()) {}

  void run(int64_t piece) {
    first_ = piece * segment_.piece;
    count_ = std::min(segment_.piece, tape_.samples - first_);
    std::fill(transformed_.begin(), transformed_.end(), false);
    std::fill(unpacked_.begin(), unpacked_.end(), false);
    queue_norm_inputs();
    const auto gradient_of = [this](int64_t value) { return gradient(value); };
    for (int64_t i = segment_.first; i < segment_.last; ++i) {
      const Step& step = plan_.steps[i];
      compute(step);
      if (step.complete) {
        const int64_t destination = tape_.terms[step.first].destination;
        read_planes(tape_, destination, gradient(destination), first_, count_);
        products_.multiply(destination, gradient(destination), gradient_of, first_, count_);
      }
    }
    for (const SharedNormSums& sum : sums_) {
      norms_.sum(sum, gradient_of, first_, count_);
    }
  }

 private:
  // Queues the inputs of the BatchNorms whose sums are taken at the end of the piece.
  void queue_norm_inputs() {
    int64_t calls = 0;
    for (int64_t i = segment_.first; i < segment_.last; ++i) {
      const Value& value = destination_of(plan_.steps[i]);
      if (tape_.terms[plan_.steps[i].first].layer == Layer::kConv3x3) {
        calls += shared_blocks(value, count_) * winograd::kPositions;
      }
    }
    prefetch_queue_.clear();
    for (const SharedNormSums& sum : sums_) {
      const Term& term = tape_.terms[sum.first];
      const int64_t floats = tape_.values[term.source].floats();
      prefetch_queue_.add(tape_.norms[term.norm].x + first_ * floats, count_ * floats);
    }
    prefetch_queue_.spread(calls);
  }

  void compute(const Step& step) {
    switch (tape_.terms[step.first].layer) {
      case Layer::kIdentity:
        return scale(step, 1);
      case Layer::kScale:
        return scale(step, *tape_.terms[step.first].weights);
      case Layer::kConv3x3:
        return conv3x3(step);
      case Layer::kConv1x1:
        return conv1x1(step);
      case Layer::kStridedConv:
        return strided_conv(step);
      case Layer::kAvgPool3x3:
        return avg_pool3x3(step);
      case Layer::kMeanPool:
        return mean_pool(step);
      case Layer::kDepthwiseConv:
        return depthwise_conv(step);
    }
  }

  // The gradient of a value, from the first sample of the piece on. Cotangents are only read.
  float* gradient(int64_t value) {
    const int64_t floats = tape_.values[value].floats();
    if (value < static_cast<int64_t>(tape_.cotangents.size())) {
      return tape_.cotangents[value].signs == nullptr
                 ? const_cast<float*>(tape_.cotangents[value].data) + first_ * floats
                 : signs(value);
    }
    const BufferSlot& slot = plan_.slots[value];
    return slot.in_scratch ? scratch_.data() + segment_.piece * slot.offset
                           : gradients_.data(value) + first_ * floats;
  }

  // The unpacked signs of a cotangent, once a piece.
  float* signs(int64_t cotangent) {
    const int64_t floats = tape_.values[cotangent].floats();
    float* target = scratch_.data() + segment_.piece * segment_.signs[cotangent];
    if (!unpacked_[cotangent]) {
      write_signs(tape_.cotangents[cotangent].signs + first_ * floats / 8, count_ * floats, target);
      unpacked_[cotangent] = true;
    }
    return target;
  }

  // The gradient at the output of a term's layer: that of its source, behind the BatchNorm if there
  // is one. Each term of a step has memory of its own for it.
  const float* output_gradient(const Step& step, int64_t index) {
    const Term& term = tape_.terms[index];
    if (!term.is_normed()) {
      return gradient(term.source);
    }
    float* target = normed_.data();
    for (int64_t before = step.first; before < index; ++before) {
      const Term& other = tape_.terms[before];
      target += other.is_normed() ? segment_.piece * tape_.values[other.source].floats() : 0;
    }
    norms_.apply(index, gradient(term.source), first_, count_, target);
    return target;
  }

  GradientTarget target(const Step& step) {
    const Term& term = tape_.terms[step.first];
    return {.data = gradient(term.destination),
            .add = step.add,
            .mask = term.mask,
            .mask_samples = tape_.mask_samples,
            .mask_first = first_};
  }

  const Value& destination_of(const Step& step) const {
    return tape_.values[tape_.terms[step.first].destination];
  }

  void scale(const Step& step, float factor) {
    scaled_copy({.samples = count_,
                 .floats = destination_of(step).floats(),
                 .factor = factor,
                 .source = output_gradient(step, step.first),
                 .target = target(step)});
  }

  void conv3x3(const Step& step) {
    const Value& value = destination_of(step);
    winograd::InputGradient problem{.samples = count_,
                                    .height = value.height,
                                    .width = value.width,
                                    .channels = value.channels,
                                    .sources = {},
                                    .target = target(step),
                                    .prefetch = &prefetch_queue_};
    bool shared = false;
    for (int64_t i = step.first; i < step.last; ++i) {
      const Term& term = tape_.terms[i];
      const int64_t patches = term.is_normed() ? kNone : plan_.slots[term.source].patches;
      problem.sources.push_back({.channels = tape_.values[term.source].channels,
                                 .grad = output_gradient(step, i),
                                 .weights = term.weights,
                                 .patches = patches < 0 ? nullptr : patches_.data() + patches,
                                 .transformed = patches >= 0 && transformed_[term.source] != 0});
      shared = shared || patches >= 0;
      transformed_[term.source] |= patches >= 0;
    }
    const int64_t tiles = shared ? winograd::kMostTiles : winograd::tiles_per_block(problem);
    winograd::InputGradientWorker(problem, tiles).run(0, problem.tiles());
  }

  void conv1x1(const Step& step) {
    const Value& value = destination_of(step);
    conv1x1::InputGradient problem{.samples = count_,
                                   .pixels = value.pixels(),
                                   .channels = value.channels,
                                   .sources = {},
                                   .target = target(step)};
    for (int64_t i = step.first; i < step.last; ++i) {
      const Term& term = tape_.terms[i];
      problem.sources.push_back({.channels = tape_.values[term.source].channels,
                                 .grad = output_gradient(step, i),
                                 .weights = term.weights});
    }
    conv1x1::input_gradient(problem, 0, count_ * value.pixels());
  }

  void strided_conv(const Step& step) {
    const Term& term = tape_.terms[step.first];
    const Value& from = tape_.values[term.source];
    const Value& to = tape_.values[term.destination];
    const auto [rows, columns] = strided_axes(from, to, term);
    const strided_conv::InputGradient problem{.samples = count_,
                                              .rows = rows,
                                              .columns = columns,
                                              .grad_channels = from.channels,
                                              .channels = to.channels,
                                              .grad = output_gradient(step, step.first),
                                              .weights = term.weights,
                                              .target = target(step)};
    strided_conv::InputGradientWorker(problem).run(0, count_);
  }

  void depthwise_conv(const Step& step) {
    const Term& term = tape_.terms[step.first];
    const Value& to = tape_.values[term.destination];
    const auto [rows, columns] = strided_axes(tape_.values[term.source], to, term);
    const depthwise_conv::InputGradient problem{.samples = count_,
                                                .rows = rows,
                                                .columns = columns,
                                                .channels = to.channels,
                                                .grad = output_gradient(step, step.first),
                                                .weights = term.weights,
                                                .target = target(step)};
    depthwise_conv::InputGradientWorker(problem).run(0, count_);
  }

  void avg_pool3x3(const Step& step) {
    const Value& value = destination_of(step);
    const avg_pool::InputGradient problem{.samples = count_,
                                          .height = value.height,
                                          .width = value.width,
                                          .channels = value.channels,
                                          .grad = output_gradient(step, step.first),
                                          .result = gradient(tape_.terms[step.first].destination),
                                          .add = step.add};
    avg_pool::input_gradient(problem, 0, problem.rows());
  }

  void mean_pool(const Step& step) {
    const Term& term = tape_.terms[step.first];
    const Value& from = tape_.values[term.source];
    const Value& to = tape_.values[term.destination];
    const mean_pool::InputGradient problem{.samples = count_,
                                           .height = to.height,
                                           .width = to.width,
                                           .channels = to.channels,
                                           .grad_height = from.height,
                                           .grad_width = from.width,
                                           .size = term.stride,
                                           .grad = output_gradient(step, step.first),
                                           .result = gradient(term.destination),
                                           .add = step.add};
    mean_pool::input_gradient(problem);
  }

  const Tape& tape_;
  const Plan& plan_;
  const Segment& segment_;
  const std::vector<SharedNormSums>& sums_;
  const Gradients& gradients_;
  Norms& norms_;
  PrefetchQueue prefetch_queue_;
  Products& products_;
  AlignedBuffer<float> scratch_;
  AlignedBuffer<float> patches_;
  AlignedBuffer<float> normed_;
  std::vector<uint8_t> transformed_;  // values whose patches are there
  std::vector<uint8_t> unpacked_;     // cotangents whose signs are there
  int64_t first_ = 0;                 // sample of the piece
  int64_t count_ = 0;
};

}  // namespace vkdnw::tape
