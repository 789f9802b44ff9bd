// Where an op runs: the device of its tensors, and the stream that the caller has made current.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace vkdnw {

using torch::stable::Tensor;

// Makes the device of a tensor current for as long as this lives. Throws std::runtime_error while
// the current stream is being captured in a CUDA graph.
class OnDeviceOf {
 public:
  explicit OnDeviceOf(const Tensor& tensor);

  cudaStream_t stream() const { return stream_; }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

// Throws std::runtime_error with the name of the op and the device's message.
void require_cuda(cudaError_t error, const char* op);

// Uninitialised bytes on the device of `like`, from torch's allocator: aligned for every type, and
// reused only after the work that is queued on the current stream.
Tensor scratch_like(const Tensor& like, int64_t bytes);

inline unsigned char* bytes_of(Tensor& scratch) {
  return static_cast<unsigned char*>(scratch.mutable_data_ptr());
}

// Copies from the device and waits for it.
template <typename T>
void download(const T* device, T* host, int64_t count, cudaStream_t stream, const char* op) {
  const auto bytes = static_cast<size_t>(count) * sizeof(T);
  require_cuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream), op);
  require_cuda(cudaStreamSynchronize(stream), op);
}

}  // namespace vkdnw
