// A launch as both shims check it. threads.cpp and fibres.cpp each run the threads of one block.
#pragma once

#include "cuda_runtime.h"

namespace cuda_shim {

// Runs all threads of the block with this index. Throws std::logic_error where a barrier or a
// shuffle is not reached by all threads that it needs.
void run_block(const cudaLaunchConfig_t& config, unsigned index, Thread thread, void* argument);

}  // namespace cuda_shim
