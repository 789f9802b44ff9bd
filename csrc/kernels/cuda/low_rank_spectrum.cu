#include "kernels/cuda/low_rank_spectrum.h"

namespace vkdnw::cuda {

template cudaError_t launch_low_rank_spectrum(const SpectrumBatch<double>&, JacobiPath,
                                              cudaStream_t);
template cudaError_t launch_low_rank_spectrum(const SpectrumBatch<float>&, JacobiPath,
                                              cudaStream_t);

}  // namespace vkdnw::cuda
