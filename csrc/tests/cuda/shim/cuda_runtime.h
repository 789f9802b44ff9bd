// The part of CUDA that the kernels use, on a CPU: kernels include <cuda_runtime.h>, and their
// tests are compiled with this one in its place.
//
// Threads of a block are fibres that run until they meet a barrier (fibres.cpp). Shared memory is
// filled with NaN before each block and watched behind its end. This finds reads of shared
// memory that was not written, barriers that not all threads reach, shared memory beyond the size
// asked for, and, by running warps and blocks in two orders, results that depend on the order.
//
// With VKDNW_SHIM_THREADS they are threads (threads.cpp), for the thread sanitizer: it finds reads
// and writes that no barrier orders. As on a GPU, a shuffle passes numbers and orders nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;

  dim3() = default;
  dim3(unsigned x, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

using cudaStream_t = void*;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
};

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  void* attrs;
  unsigned numAttrs;
};

// Of the fibre, or the thread, that runs.
#ifdef VKDNW_SHIM_THREADS
#define VKDNW_SHIM_OWN thread_local
#else
#define VKDNW_SHIM_OWN
#endif
inline VKDNW_SHIM_OWN dim3 threadIdx;
inline VKDNW_SHIM_OWN dim3 blockIdx;
inline VKDNW_SHIM_OWN dim3 blockDim;
inline VKDNW_SHIM_OWN dim3 gridDim;

namespace cuda_shim {

// Settings of a test: a small device, and the order in which blocks and warps run.
struct Device {
  int shared_bytes = 232448;  // of a block, when asked for (H100)
  int multiprocessors = 2;
  bool last_first = false;
  int64_t launches = 0;
};
Device& device();

inline constexpr unsigned kWarp = 32;
inline constexpr int kSharedWithoutAsking = 48 * 1024;

// Waits for the other threads of the warp, or of the block.
void meet_warp();
void meet_block();

// An exchange between the lanes of a warp: each puts a number, waits for the others, takes one.
void put(uint64_t number);
void meet_lanes();
uint64_t take(unsigned lane);
void next_exchange();

void allow_shared(const void* kernel, int bytes);

using Thread = void (*)(void* argument);
// Throws std::logic_error with the fault of the kernel.
cudaError_t run(const cudaLaunchConfig_t& config, const void* kernel, Thread thread,
                void* argument);

template <typename T>
T exchange(T value, unsigned source_lane_mask) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t number = 0;
  std::memcpy(&number, &value, sizeof(T));
  put(number);
  meet_lanes();
  number = take(threadIdx.x % kWarp ^ source_lane_mask);
  next_exchange();
  T result;
  std::memcpy(&result, &number, sizeof(T));
  return result;
}

}  // namespace cuda_shim

inline void __syncthreads() { cuda_shim::meet_block(); }
inline void __syncwarp() { cuda_shim::meet_warp(); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, int lane_mask) {
  return cuda_shim::exchange(value, static_cast<unsigned>(lane_mask));
}

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  auto call = [&] { kernel(arguments...); };
  const auto thread = [](void* argument) { (*static_cast<decltype(call)*>(argument))(); };
  return cuda_shim::run(*config, reinterpret_cast<const void*>(kernel), thread, &call);
}

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int value) {
  cuda_shim::allow_shared(reinterpret_cast<const void*>(kernel), value);
  return cudaSuccess;
}

inline cudaError_t cudaGetDevice(int* index) {
  *index = 0;
  return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const cuda_shim::Device& device = cuda_shim::device();
  *value =
      attribute == cudaDevAttrMultiProcessorCount ? device.multiprocessors : device.shared_bytes;
  return cudaSuccess;
}

inline cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
  std::memcpy(target, source, bytes);
  return cudaSuccess;
}

inline cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t) {
  std::memset(target, value, bytes);
  return cudaSuccess;
}

inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
