// The interface of jacobian_columns.cu for code that g++ compiles.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/cuda/jacobian_columns_tables.h"

namespace vkdnw::cuda {

// `scratch`: scratch_layout(tables).bytes on the device, aligned to kVectorBytes.
template <typename Storage>
cudaError_t add_jacobian_columns(const JacobianColumnsTables<Storage>& tables,
                                 unsigned char* scratch, cudaStream_t stream);

}  // namespace vkdnw::cuda
