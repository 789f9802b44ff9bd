// The steps of the factor for a batch of probabilities on a GPU.
#pragma once

#include <cuda_runtime_api.h>

#include "ops/factored_jacobian.h"

namespace vkdnw {

// [B, rows] steps on the device, as bytes. Throws std::invalid_argument, naming the sample, as on
// the CPU; to know, it waits for the device once, for four bytes a sample.
Tensor checked_steps_on_device(const FactorArguments& arguments, cudaStream_t stream,
                               const char* op);

}  // namespace vkdnw
