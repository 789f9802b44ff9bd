// Memory for the results of ops on the CPU, not initialised.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <cstdint>
#include <optional>

namespace vkdnw {

// The sizes of a batch of images, [samples, channels, height, width].
struct ImageSizes {
  int64_t samples;
  int64_t channels;
  int64_t height;
  int64_t width;

  static ImageSizes of(const torch::stable::Tensor& images) {
    return {images.size(0), images.size(1), images.size(2), images.size(3)};
  }
};

// [samples, channels, height, width] float32 channels_last.
inline torch::stable::Tensor empty_images(const ImageSizes& sizes) {
  const std::array<int64_t, 4> shape{sizes.samples, sizes.channels, sizes.height, sizes.width};
  return torch::stable::empty(shape, torch::headeronly::ScalarType::Float, std::nullopt,
                              std::nullopt, std::nullopt,
                              torch::headeronly::MemoryFormat::ChannelsLast);
}

// [samples, height, width, bytes] uint8: a mask of images with `bytes` bytes per pixel.
inline torch::stable::Tensor empty_masks(const ImageSizes& images, int64_t bytes) {
  const std::array<int64_t, 4> shape{images.samples, images.height, images.width, bytes};
  return torch::stable::empty(shape, torch::headeronly::ScalarType::Byte, std::nullopt,
                              std::nullopt, std::nullopt, std::nullopt);
}

inline const float* floats_of(const torch::stable::Tensor& tensor) {
  return static_cast<const float*>(tensor.const_data_ptr());
}

inline float* writable_floats(torch::stable::Tensor& tensor) {
  return static_cast<float*>(tensor.mutable_data_ptr());
}

inline uint8_t* writable_bytes(torch::stable::Tensor& tensor) {
  return static_cast<uint8_t*>(tensor.mutable_data_ptr());
}

}  // namespace vkdnw
