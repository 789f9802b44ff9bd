// The kernel of vkdnw::relu_mask on a device.
#include "kernels/cuda/relu_mask.h"

#include <doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/layers/relu_mask.h"

using namespace vkdnw;

TEST_CASE("the bits of the CPU, for any number of channels, and NaN passes") {
  for (const int64_t channels : {1, 7, 8, 16, 17, 40}) {
    const int64_t pixels = 37;
    const int64_t bytes = relu::mask_bytes(channels);
    std::vector<float> numbers(pixels * channels);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] =
          i % 11 == 3 ? std::nanf("") : static_cast<float>(static_cast<int>(i * 7 % 5) - 2);
    }
    std::vector<uint8_t> expected(pixels * bytes, 0xaa);
    std::vector<uint8_t> found(pixels * bytes, 0x55);
    const relu::Masking problem{
        .pixels = pixels, .channels = channels, .relu = numbers.data(), .mask = expected.data()};
    relu::mask_pixels(problem, 0, pixels);
    CHECK(cuda::launch_relu_mask({numbers.data(), found.data(), pixels, channels, bytes},
                                 nullptr) == cudaSuccess);
    CHECK(found == expected);
  }
}
