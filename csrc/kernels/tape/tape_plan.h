// How a tape is run: in which pieces, and where the gradients lie.
//
// Samples go through the tape in pieces whose feature maps stay in a core's cache. The smaller the
// maps, the larger the pieces: then the weights, which are fetched for each piece, cost more than
// the maps. The tape is therefore cut into segments of steps whose maps have one height and width.
// Gradients that only one segment needs lie in the scratch memory of one piece, the others in
// memory for all samples. The gradient behind a BatchNorm is known once its sums are complete, so a
// segment also ends before a value with a term that passes a BatchNorm, if the gradient that
// BatchNorm reads is computed in that segment.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tape/tape.h"

namespace vkdnw::tape {

// Terms of one destination that one kernel sums: the same layer and the same mask.
struct Step {
  int64_t first;  // term
  int64_t last;
  bool add;       // to the sum of the destination's earlier steps
  bool complete;  // whether this is the destination's last step
};

struct Segment {
  int64_t first;  // step
  int64_t last;
  int64_t piece;    // samples that go through the segment at once
  int64_t scratch;  // floats per sample, of gradients that no other segment reads
  int64_t patches;  // floats per piece, of transformed patches that several steps read
  int64_t normed;   // floats per sample, of the largest step's gradients behind BatchNorms
  std::vector<int64_t> signs;  // by cotangent: floats per sample from the start of the scratch
                               // memory to its unpacked signs; kNone where it is not read
};

// Where a gradient lies while the tape runs.
struct BufferSlot {
  bool in_scratch = false;
  int64_t offset = 0;         // floats per sample, from the start of the scratch memory
  int64_t patches = kNone;    // floats per piece, from the start of the patches; kNone without any
  int64_t first_segment = 0;  // that computes it
  int64_t last_segment = 0;   // that reads it
};

// Terms that pass one BatchNorm and take its sums in one pass over its input: reading the input
// costs more than multiplying it.
struct SharedNormSums {
  int64_t first;
  int64_t second;  // or kNone
};

struct Plan {
  std::vector<Step> steps;
  std::vector<Segment> segments;
  std::vector<BufferSlot> slots;  // by value; of a cotangent's only the patches are used
  std::vector<std::vector<SharedNormSums>> sums;  // by segment: taken at the end of each piece
  std::vector<SharedNormSums> first_sums;         // of cotangents: taken before the first segment
};

Plan make_plan(const Tape& tape);

// Floats of one feature map for all samples of a piece: about five maps and some patches fill a
// cache of level 2.
inline constexpr int64_t kPieceFloats = 48 * 1024;

// The same with BatchNorms: their inputs are read as well, and gradients pass through memory in any
// case.
inline constexpr int64_t kNormedPieceFloats = 16 * 1024;

// Above this the weights of 3x3 convolutions cost more than the transforms of Winograd's algorithm.
// Pieces are then twice as large, so that weights are fetched half as often; patches are not kept
// for other convolutions; and each convolution is a step of its own, whose weights fit the cache.
inline constexpr int64_t kNarrowChannels = 32;

}  // namespace vkdnw::tape
