// The interface of tape_backward.cu for code that g++ compiles.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/tape_backward_tables.h"

namespace vkdnw::cuda {

struct TapeLimits {
  int64_t shared_floats;  // that a block can have
  int64_t blocks;         // that the device keeps busy; each goes through many samples
};

// Of the current device.
cudaError_t tape_limits(TapeLimits& limits);

// Runs a tape in so many blocks. `scratch`: tape_scratch(tables, blocks).bytes on the device,
// aligned to 16 bytes.
cudaError_t launch_tape_backward(const TapeTables& tables, int64_t blocks, unsigned char* scratch,
                                 cudaStream_t stream);

}  // namespace vkdnw::cuda
