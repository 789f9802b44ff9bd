// Where the gradients of a planned tape lie, and how much scratch memory each segment needs.
#pragma once

#include <cstdint>

#include "kernels/tape/tape.h"
#include "kernels/tape/tape_plan.h"

namespace vkdnw::tape {

// Blocks of Winograd tiles of some samples of a value.
int64_t shared_blocks(const Value& value, int64_t samples);

// Completes the slots and the segments of a plan that has its steps.
void lay_out_memory(const Tape& tape, Plan& plan);

}  // namespace vkdnw::tape
