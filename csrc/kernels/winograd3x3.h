// Data gradient of a 3x3 convolution (stride 1, padding 1, no dilation, no groups) on NHWC float32
// by Winograd's F(4x4, 3x3), with the backward of the ReLU in front of the convolution folded in.
//
// The images are cut into 4x4 tiles. A block of tiles goes through three steps, and what lies in
// between never leaves the core's cache:
//
//   patches   [36][grad channels / b][tiles][b]   transformed 6x6 patches of the gradient
//   products  [36][channels / b][tiles][b]        patches x weights, 36 matrix products
//   result                                        transformed back, masked, stored
//
// with b = kChannelBlock. A tile goes through the same operations in the same order wherever it
// lies in a block, so neither the block size nor the number of threads shows in the result.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/aligned_buffer.h"
#include "kernels/relu_mask.h"
#include "kernels/winograd3x3_product.h"
#include "kernels/winograd3x3_transforms.h"

namespace vkdnw::winograd {

// One data gradient. Sample n is masked by sample n % mask_samples of the mask, which is as
// kernels/relu_mask.h has it and may be null. Both channel counts are multiples of kChannelBlock,
// and with a mask, `channels` also of 8.
struct InputGradient {
  int64_t samples;
  int64_t height;
  int64_t width;
  int64_t grad_channels;
  int64_t channels;
  const float* grad;     // [samples, height, width, grad_channels]
  const float* weights;  // [kPositions, channels / kChannelBlock, grad_channels, kChannelBlock]
  const uint8_t* mask;   // [mask_samples, height, width, channels / 8]
  int64_t mask_samples;
  float* result;  // [samples, height, width, channels]

  int64_t tile_rows() const { return (height + kTile - 1) / kTile; }
  int64_t tile_columns() const { return (width + kTile - 1) / kTile; }
  int64_t tiles() const { return samples * tile_rows() * tile_columns(); }
};

// From the weights of the forward convolution, [grad_channels, channels, 3, 3] contiguous, to
// those of InputGradient. The gradient is a correlation with the kernel turned by 180 degrees.
inline void transform_gradient_weights(const float* weight, int64_t grad_channels, int64_t channels,
                                       float* transformed) {
  for (int64_t out = 0; out < grad_channels; ++out) {
    for (int64_t in = 0; in < channels; in += kChannelBlock, weight += 9 * kChannelBlock) {
      WideChannels turned[3][3];
      for (int64_t lane = 0; lane < kChannelBlock; ++lane) {
        for (int64_t i = 0; i < 9; ++i) {
          turned[i / 3][i % 3][lane] = weight[9 * lane + 8 - i];
        }
      }
      transform_weights(turned, transformed + in * grad_channels + out * kChannelBlock,
                        grad_channels * channels);
    }
  }
}

// Tiles that are taken through the three steps together: enough to use each weight that is fetched
// a few times, few enough for patches and products to stay in half a megabyte of cache.
inline int64_t tiles_per_block(const InputGradient& problem) {
  constexpr int64_t kMostTiles = 24;
  constexpr int64_t kCacheFloats = 128 * 1024;
  const int64_t floats = kPositions * (problem.grad_channels + problem.channels);
  return std::clamp<int64_t>(kCacheFloats / floats, 1, kMostTiles);
}

class InputGradientWorker {
 public:
  explicit InputGradientWorker(const InputGradient& problem)
      : InputGradientWorker(problem, tiles_per_block(problem)) {}

  InputGradientWorker(const InputGradient& problem, int64_t block_tiles)
      : problem_(problem),
        block_tiles_(block_tiles),
        patch_stride_(padded_stride(problem.grad_channels)),
        product_stride_(padded_stride(problem.channels)),
        patches_(kPositions * patch_stride_),
        products_(kPositions * product_stride_) {}

  // Computes tiles [first, last) of problem.tiles(), counted along rows, then columns, then
  // samples.
  void run(int64_t first, int64_t last) {
    Tile load = tile_at(first);
    Tile store = load;
    for (int64_t begin = first; begin < last; begin += block_tiles_) {
      const int64_t count = std::min(block_tiles_, last - begin);
      for (int64_t slot = 0; slot < count; ++slot, advance(load)) {
        load_patch(load, slot);
      }
      for (int64_t position = 0; position < kPositions; ++position) {
        multiply_position(position, count);
      }
      for (int64_t slot = 0; slot < count; ++slot, advance(store)) {
        store_tile(store, slot);
      }
    }
  }

 private:
  struct Tile {
    int64_t sample;
    int64_t y;
    int64_t x;
  };

  Tile tile_at(int64_t index) const {
    const int64_t columns = problem_.tile_columns();
    const int64_t rows = problem_.tile_rows();
    return {.sample = index / (rows * columns),
            .y = index / columns % rows * kTile,
            .x = index % columns * kTile};
  }

  void advance(Tile& tile) const {
    tile.x += kTile;
    if (tile.x >= problem_.width) {
      tile.x = 0;
      tile.y += kTile;
    }
    if (tile.y >= problem_.height) {
      tile.y = 0;
      ++tile.sample;
    }
  }

  // Between positions. The odd block keeps powers of two away, at which the 36 numbers of a patch
  // would compete for one set of the cache.
  int64_t padded_stride(int64_t channels) const { return block_tiles_ * channels + kChannelBlock; }

  void load_patch(const Tile& tile, int64_t slot) {
    const int64_t channels = problem_.grad_channels;
    const int64_t y = tile.y - 1;
    const int64_t x = tile.x - 1;
    const bool inside =
        y >= 0 && y + kPatch <= problem_.height && x >= 0 && x + kPatch <= problem_.width;
    const int64_t first_pixel = (tile.sample * problem_.height + y) * problem_.width + x;
    float* target = patches_.data() + slot * kChannelBlock;
    for (int64_t c = 0; c < channels; c += kChannelBlock, target += block_tiles_ * kChannelBlock) {
      if (inside) {
        transform_patch(problem_.grad + first_pixel * channels + c, problem_.width * channels,
                        channels, target, patch_stride_);
      } else {
        copy_padded(first_pixel, y, x, c);
        transform_patch(padded_[0][0], kPatch * kChannelBlock, kChannelBlock, target,
                        patch_stride_);
      }
    }
  }

  // Copies a patch that sticks out of the image, with zeros there. Its first pixel is (y, x).
  void copy_padded(int64_t first_pixel, int64_t y, int64_t x, int64_t channel) {
    for (int64_t i = 0; i < kPatch; ++i) {
      const bool row_inside = y + i >= 0 && y + i < problem_.height;
      for (int64_t j = 0; j < kPatch; ++j) {
        const bool inside = row_inside && x + j >= 0 && x + j < problem_.width;
        const int64_t pixel = first_pixel + i * problem_.width + j;
        store_channels(padded_[i][j],
                       inside
                           ? load_channels(problem_.grad + pixel * problem_.grad_channels + channel)
                           : Channels{});
      }
    }
  }

  void multiply_position(int64_t position, int64_t tiles) {
    multiply({.depth_blocks = problem_.grad_channels / kChannelBlock,
              .patches = patches_.data() + position * patch_stride_,
              .patches_stride = block_tiles_ * kChannelBlock,
              .weights = problem_.weights + position * problem_.grad_channels * problem_.channels,
              .products = products_.data() + position * product_stride_,
              .products_stride = block_tiles_ * kChannelBlock},
             tiles, problem_.channels / kChannelBlock);
  }

  void store_tile(const Tile& tile, int64_t slot) {
    const int64_t channels = problem_.channels;
    const int64_t first_pixel = tile.y * problem_.width + tile.x;
    const int64_t image = problem_.height * problem_.width;
    float* target = problem_.result + (tile.sample * image + first_pixel) * channels;
    const uint8_t* mask = nullptr;
    if (problem_.mask != nullptr) {
      const int64_t sample = tile.sample % problem_.mask_samples;
      mask = problem_.mask + (sample * image + first_pixel) * channels / 8;
    }
    const int64_t rows = std::min(kTile, problem_.height - tile.y);
    const int64_t columns = std::min(kTile, problem_.width - tile.x);
    const float* products = products_.data() + slot * kChannelBlock;
    for (int64_t c = 0; c < channels;
         c += kChannelBlock, products += block_tiles_ * kChannelBlock) {
      Channels pixels[kTile][kTile];
      transform_products(products, product_stride_, pixels);
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) {
          const int64_t offset = (i * problem_.width + j) * channels + c;
          store_channels(target + offset,
                         mask == nullptr ? pixels[i][j] : relu::masked(pixels[i][j], mask, offset));
        }
      }
    }
  }

  const InputGradient& problem_;
  int64_t block_tiles_;
  int64_t patch_stride_;
  int64_t product_stride_;
  AlignedBuffer<float> patches_;
  AlignedBuffer<float> products_;
  alignas(kNativeBytes) float padded_[kPatch][kPatch][kChannelBlock];
};

}  // namespace vkdnw::winograd
