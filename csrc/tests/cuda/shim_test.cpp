// The shim itself: correct kernels pass, and faults are found.
#include <cuda_runtime.h>
#include <doctest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp.h"

namespace vkdnw::cuda {

__global__ void sum_threads(double* sums) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  auto* scratch = reinterpret_cast<double*>(shared_bytes);
  const double sum = block_sum(static_cast<double>(threadIdx.x), scratch);
  const double most = block_max(static_cast<double>(threadIdx.x), scratch + 4);
  if (threadIdx.x == 77) {
    sums[blockIdx.x] = sum + 1000.0 * most + 1e6 * blockIdx.x;
  }
}

__global__ void read_unwritten(float* number) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  if (threadIdx.x == 0) {
    *number = reinterpret_cast<float*>(shared_bytes)[0];
  }
}

__global__ void write_behind_the_end() {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  if (threadIdx.x == 0) {
    shared_bytes[64] = 0;
  }
}

__global__ void half_a_shuffle(int* number) {
  if (threadIdx.x < 16) {
    *number = __shfl_xor_sync(kAllLanes, 1, 1);
  }
}

__global__ void one_warp_waits() {
  if (threadIdx.x < kWarp) {
    __syncthreads();
  }
}

TEST_CASE("shuffles and barriers join the threads of a block") {
  std::vector<double> sums(3);
  REQUIRE(launch(sum_threads, 3, 128, 8 * sizeof(double), nullptr, sums.data()) == cudaSuccess);
  for (int block = 0; block < 3; ++block) {
    CHECK(sums[block] == 127.0 * 128.0 / 2.0 + 127e3 + 1e6 * block);
  }
}

TEST_CASE("shared memory holds NaN until it is written, and ends where it was asked to") {
  float number = 0;
  launch(read_unwritten, 1, 32, 128, nullptr, &number);
  CHECK(std::isnan(number));
  CHECK_THROWS_WITH(launch(write_behind_the_end, 1, 32, 64, nullptr),
                    "shared memory was written behind its 64 bytes");
}

TEST_CASE("barriers that some threads do not reach are found") {
  int number = 0;
  CHECK_THROWS_AS(launch(half_a_shuffle, 1, 32, 0, nullptr, &number), std::logic_error);
  CHECK_THROWS_AS(launch(one_warp_waits, 1, 64, 0, nullptr), std::logic_error);
}

TEST_CASE("launches beyond the device's limits fail") {
  CHECK(launch(one_warp_waits, int64_t{1} << 31, 32, 0, nullptr) == cudaErrorInvalidConfiguration);
  CHECK(launch(one_warp_waits, 1, 32, 64 * 1024, nullptr) == cudaErrorInvalidConfiguration);
  CHECK(launch(one_warp_waits, 0, 32, 0, nullptr) == cudaSuccess);  // nothing to do
}

}  // namespace vkdnw::cuda
