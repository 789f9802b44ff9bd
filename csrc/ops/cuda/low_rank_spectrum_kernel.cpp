#include <torch/csrc/stable/library.h>

#include <vector>

#include "kernels/cuda/low_rank_spectrum_launch.h"
#include "ops/cuda/device.h"
#include "ops/low_rank_spectrum.h"

namespace vkdnw {
namespace {

constexpr const char* kOp = "low_rank_spectrum";

struct CudaKernel {
  // Waits for the device once, to read the status of every matrix; a matrix of more than
  // cuda::kMostBlockColumns vectors waits once a sweep.
  template <typename T>
  static std::vector<SpectrumStatus> write(const Tensor& factor, const FactorBatch& sizes,
                                           Tensor& spectra) {
    const OnDeviceOf device(factor);
    cuda::SpectrumBatch<T> batch{};
    batch.factors = static_cast<const T*>(factor.const_data_ptr());
    batch.matrices = sizes.matrices;
    batch.rows = sizes.rows;
    batch.columns = sizes.columns;
    batch.eigenvalues = static_cast<T*>(spectra.mutable_data_ptr());
    Tensor workspace = scratch_like(factor, cuda::place_workspace(batch, nullptr));
    cuda::place_workspace(batch, bytes_of(workspace));
    require_cuda(
        cuda::launch_low_rank_spectrum(batch, cuda::jacobi_path(batch.vectors()), device.stream()),
        kOp);
    std::vector<SpectrumStatus> status(static_cast<size_t>(sizes.matrices));
    download(batch.status, status.data(), sizes.matrices, device.stream(), kOp);
    return status;
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CUDA, m) {
  m.impl("low_rank_spectrum", TORCH_BOX(&low_rank_spectrum<CudaKernel>));
}

}  // namespace vkdnw
