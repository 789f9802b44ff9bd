#include "launch.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>

namespace vkdnw::cuda {

// The memory that kernels declare as `extern __shared__`.
alignas(16) unsigned char shared_bytes[cuda_shim::Device{}.shared_bytes + 4096];

}  // namespace vkdnw::cuda

namespace cuda_shim {
namespace {

constexpr unsigned char kPoison = 0xff;  // a NaN in any floating-point type
constexpr size_t kWatchedBytes = 4096;   // behind the shared memory that a kernel asked for

std::map<const void*, int>& allowed_shared() {
  static std::map<const void*, int> allowed;
  return allowed;
}

// Whether a GPU would start this launch.
bool launchable(const cudaLaunchConfig_t& config, const void* kernel) {
  const auto allowed = allowed_shared().find(kernel);
  const int asked = allowed == allowed_shared().end() ? kSharedWithoutAsking : allowed->second;
  const int limit = std::min(asked, device().shared_bytes);
  return config.gridDim.x > 0 && config.gridDim.y == 1 && config.gridDim.z == 1 &&
         config.blockDim.x > 0 && config.blockDim.x <= 1024 && config.blockDim.x % kWarp == 0 &&
         config.dynamicSmemBytes <= static_cast<size_t>(limit);
}

void poison_shared(size_t bytes) {
  std::memset(vkdnw::cuda::shared_bytes, kPoison, bytes + kWatchedBytes);
}

void check_shared_end(size_t bytes) {
  for (size_t i = bytes; i < bytes + kWatchedBytes; ++i) {
    if (vkdnw::cuda::shared_bytes[i] != kPoison) {
      throw std::logic_error("shared memory was written behind its " + std::to_string(bytes) +
                             " bytes");
    }
  }
}

}  // namespace

Device& device() {
  static Device settings;
  return settings;
}

void allow_shared(const void* kernel, int bytes) { allowed_shared()[kernel] = bytes; }

cudaError_t run(const cudaLaunchConfig_t& config, const void* kernel, Thread thread,
                void* argument) {
  if (!launchable(config, kernel)) {
    return cudaErrorInvalidConfiguration;
  }
  ++device().launches;
  for (unsigned i = 0; i < config.gridDim.x; ++i) {
    poison_shared(config.dynamicSmemBytes);
    run_block(config, device().last_first ? config.gridDim.x - 1 - i : i, thread, argument);
    check_shared_end(config.dynamicSmemBytes);
  }
  return cudaSuccess;
}

}  // namespace cuda_shim
