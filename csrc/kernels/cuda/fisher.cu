#include "kernels/cuda/fisher_accumulate.h"
#include "kernels/cuda/fisher_factor.h"
#include "kernels/cuda/softmax_steps.h"

namespace vkdnw::cuda {

template cudaError_t launch_fisher_factor(const FactoredJacobian<double>&, double*, cudaStream_t);
template cudaError_t launch_fisher_factor(const FactoredJacobian<float>&, double*, cudaStream_t);

template cudaError_t launch_fisher_accumulate(const FactoredJacobian<double>&, double, double*,
                                              double*, cudaStream_t);
template cudaError_t launch_fisher_accumulate(const FactoredJacobian<float>&, double, double*,
                                              double*, cudaStream_t);
template cudaError_t launch_fisher_accumulate(const FactoredJacobian<double>&, float, float*,
                                              float*, cudaStream_t);
template cudaError_t launch_fisher_accumulate(const FactoredJacobian<float>&, float, float*, float*,
                                              cudaStream_t);

}  // namespace vkdnw::cuda
