// Runs a tape as planned: segment by segment, piece by piece.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "kernels/tape/signs.h"
#include "kernels/tape/tape.h"
#include "kernels/tape/tape_gradients.h"
#include "kernels/tape/tape_norms.h"
#include "kernels/tape/tape_plan.h"
#include "kernels/tape/tape_products.h"
#include "kernels/tape/tape_segment.h"

namespace vkdnw::tape {

// Takes the sums over the cotangents whose gradients pass BatchNorms in the first segment.
template <typename ForEach>
void sum_first_cotangents(const Tape& tape, const Plan& plan, Norms& norms,
                          const ForEach& for_each) {
  for_each(tape.samples, [&](int64_t first, int64_t last) {
    std::map<int64_t, std::vector<float>> unpacked;
    for (int64_t sample = first; sample < last; ++sample) {
      const auto gradient_of = [&](int64_t value) -> const float* {
        const Cotangent& cotangent = tape.cotangents[value];
        const int64_t floats = tape.values[value].floats();
        if (cotangent.signs == nullptr) {
          return cotangent.data + sample * floats;
        }
        std::vector<float>& signs = unpacked[value];
        signs.resize(floats);
        write_signs(cotangent.signs + sample * floats / 8, floats, signs.data());
        return signs.data();
      };
      for (const SharedNormSums& sum : plan.first_sums) {
        norms.sum(sum, gradient_of, sample, 1);
      }
    }
  });
}

// Runs the whole tape. `for_each(count, work)` calls work(first, last) on parts of [0, count), on
// any number of threads; the results do not depend on it.
template <typename ForEach>
void run(const Tape& tape, const ForEach& for_each) {
  const Plan plan = make_plan(tape);
  Norms norms(tape);
  Products products(tape);
  for (std::size_t cotangent = 0; cotangent < tape.cotangents.size(); ++cotangent) {
    read_planes(tape, static_cast<int64_t>(cotangent), tape.cotangents[cotangent].data, 0,
                tape.samples);
  }
  sum_first_cotangents(tape, plan, norms, for_each);
  Gradients gradients(tape, plan);
  for (std::size_t i = 0; i < plan.segments.size(); ++i) {
    const Segment& segment = plan.segments[i];
    gradients.begin(static_cast<int64_t>(i));
    norms.finish(plan.steps[segment.first].first, plan.steps[segment.last - 1].last);
    const int64_t pieces = (tape.samples + segment.piece - 1) / segment.piece;
    for_each(pieces, [&](int64_t first, int64_t last) {
      SegmentWorker worker(tape, plan, static_cast<int64_t>(i), gradients, norms, products);
      for (int64_t piece = first; piece < last; ++piece) {
        worker.run(piece);
      }
    });
    gradients.end(static_cast<int64_t>(i));
  }
  products.finish();
}

}  // namespace vkdnw::tape
