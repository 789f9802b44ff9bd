#include "ops/cuda/device.h"

#include <torch/csrc/stable/ops.h>

#include <array>
#include <stdexcept>
#include <string>

// Weak: a CPU build of torch has no such function, and loads this library all the same.
extern "C" __attribute__((weak)) int32_t aoti_torch_get_current_cuda_stream(int32_t device_index,
                                                                            void** stream);

namespace vkdnw {
namespace {

cudaStream_t current_stream(int32_t device_index) {
  void* stream = nullptr;
  if (aoti_torch_get_current_cuda_stream == nullptr ||
      aoti_torch_get_current_cuda_stream(device_index, &stream) != 0) {
    throw std::runtime_error("torch did not tell its current CUDA stream");
  }
  return static_cast<cudaStream_t>(stream);
}

// A graph would replay copies from host memory that is gone by then, and the checks of the first
// call's status.
void refuse_capture(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  require_cuda(cudaStreamIsCapturing(stream, &status), "vkdnw");
  if (status != cudaStreamCaptureStatusNone) {
    throw std::runtime_error(
        "vkdnw's ops cannot be captured in a CUDA graph: they read tables from the host and wait "
        "for the device; call them outside of torch.cuda.graph");
  }
}

}  // namespace

// The static CUDA runtime in this library keeps its own note of the current device.
OnDeviceOf::OnDeviceOf(const Tensor& tensor)
    : guard_(static_cast<torch::stable::accelerator::DeviceIndex>(tensor.get_device_index())),
      stream_(current_stream(tensor.get_device_index())) {
  require_cuda(cudaSetDevice(tensor.get_device_index()), "vkdnw");
  refuse_capture(stream_);
}

void require_cuda(cudaError_t error, const char* op) {
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string(op) + " on CUDA: " + cudaGetErrorString(error));
  }
}

Tensor scratch_like(const Tensor& like, int64_t bytes) {
  const std::array<int64_t, 1> shape{bytes};
  return torch::stable::new_empty(like, shape, torch::headeronly::ScalarType::Byte);
}

}  // namespace vkdnw
