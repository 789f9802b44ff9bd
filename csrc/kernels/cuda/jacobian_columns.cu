#include "kernels/cuda/jacobian_columns.h"

namespace vkdnw::cuda {

template cudaError_t add_jacobian_columns(const JacobianColumnsTables<double>&, unsigned char*,
                                          cudaStream_t);
template cudaError_t add_jacobian_columns(const JacobianColumnsTables<float>&, unsigned char*,
                                          cudaStream_t);
template cudaError_t add_jacobian_columns(const JacobianColumnsTables<Float16>&, unsigned char*,
                                          cudaStream_t);
template cudaError_t add_jacobian_columns(const JacobianColumnsTables<BFloat16>&, unsigned char*,
                                          cudaStream_t);

}  // namespace vkdnw::cuda
