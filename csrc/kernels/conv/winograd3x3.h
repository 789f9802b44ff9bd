// Data gradients of 3x3 convolutions (stride 1, padding 1, no dilation, no groups) of one input on
// NHWC float32 by Winograd's F(4x4, 3x3), with the backward of the ReLU in front of them folded in.
//
// The images are cut into 4x4 tiles. A block of tiles goes through three steps, and the
// intermediate results stay in the core's cache:
//
//   patches   [36][grad channels / b][tiles][b]   transformed 6x6 patches of each gradient
//   products  [36][channels / b][tiles][b]        sums of patches x weights, 36 matrix products
//   result                                        transformed back, masked, stored
//
// with b = kChannelBlock. Convolutions that read one input share the way back, those whose outputs
// were added up share the way there (Source::patches). A tile goes through the same operations in
// the same order wherever it lies in a block, so neither the block size nor the number of threads
// shows in the result.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/conv/winograd3x3_product.h"
#include "kernels/conv/winograd3x3_transforms.h"
#include "kernels/layers/gradient_target.h"
#include "kernels/simd/aligned_buffer.h"
#include "kernels/simd/prefetch.h"
#include "kernels/simd/prefetch_queue.h"

namespace vkdnw::winograd {

// The output gradient of one convolution.
struct Source {
  int64_t channels;
  const float* grad;     // [samples, height, width, channels]
  const float* weights;  // [kPositions, input channels / kChannelBlock, channels, kChannelBlock]
  // Memory for the patches of all blocks of tiles, patches_size() floats each, used again by
  // other convolutions of the same gradient; or null.
  float* patches;
  bool transformed;      // whether the patches are there
  bool rectify = false;  // whether the source goes through a ReLU first
};

// The sum of the data gradients of one convolution or several that read the same input. All
// channel counts are multiples of kChannelBlock, and with a mask, `channels` also of 8.
struct InputGradient {
  int64_t samples;
  int64_t height;
  int64_t width;
  int64_t channels;
  std::vector<Source> sources;
  GradientTarget target;
  PrefetchQueue* prefetch = nullptr;  // fetched while products are computed

  int64_t tile_rows() const { return (height + kTile - 1) / kTile; }
  int64_t tile_columns() const { return (width + kTile - 1) / kTile; }
  int64_t tiles() const { return samples * tile_rows() * tile_columns(); }
  int64_t depth() const {
    int64_t channels = 0;
    for (const Source& source : sources) {
      channels += source.channels;
    }
    return channels;
  }
};

// 3x3 kernels in memory, one for each pair of a channel that is summed over and one of the result.
struct Kernels {
  const float* data;
  int64_t depth;  // channels that are summed over
  int64_t depth_stride;
  int64_t channels;  // of the result
  int64_t channel_stride;
};

// From kernels to the weights of a Source, [kPositions, channels / b, depth, b]. A forward
// convolution is a correlation with its kernels, its gradient one with the kernels turned by 180
// degrees.
template <bool kTurned>
void transform_kernels(const Kernels& kernels, float* transformed) {
  for (int64_t c = 0; c < kernels.channels; c += kChannelBlock) {
    for (int64_t d = 0; d < kernels.depth; ++d) {
      const float* first = kernels.data + d * kernels.depth_stride + c * kernels.channel_stride;
      WideChannels kernel[3][3];
      for (int64_t lane = 0; lane < kChannelBlock; ++lane) {
        for (int64_t i = 0; i < 9; ++i) {
          kernel[i / 3][i % 3][lane] = first[lane * kernels.channel_stride + (kTurned ? 8 - i : i)];
        }
      }
      transform_weights(kernel, transformed + c * kernels.depth + d * kChannelBlock,
                        kernels.depth * kernels.channels);
    }
  }
}

// From the weights of the forward convolution, [grad_channels, channels, 3, 3] contiguous, to
// those of its gradient.
inline void transform_gradient_weights(const float* weight, int64_t grad_channels, int64_t channels,
                                       float* transformed) {
  transform_kernels<true>({.data = weight,
                           .depth = grad_channels,
                           .depth_stride = 9 * channels,
                           .channels = channels,
                           .channel_stride = 9},
                          transformed);
}

// The same to those of the convolution itself, as the sum over its input's channels that it is.
inline void transform_forward_weights(const float* weight, int64_t out_channels, int64_t channels,
                                      float* transformed) {
  transform_kernels<false>({.data = weight,
                            .depth = channels,
                            .depth_stride = 9,
                            .channels = out_channels,
                            .channel_stride = 9 * channels},
                           transformed);
}

// Tiles that are taken through the three steps together: enough to use each weight that is fetched
// a few times, few enough for patches and products to stay in half a megabyte of cache.
inline constexpr int64_t kMostTiles = 24;

// How far ahead of a tile numbers are asked for: enough to be there in time, few enough to be there
// still.
inline constexpr int64_t kTilesAhead = 16;

inline int64_t tiles_per_block(const InputGradient& problem) {
  constexpr int64_t kCacheFloats = 128 * 1024;
  const int64_t floats = kPositions * (problem.depth() + problem.channels);
  return std::clamp<int64_t>(kCacheFloats / floats, 1, kMostTiles);
}

// Between positions. The odd block keeps powers of two away, at which the 36 numbers of a patch
// would compete for one set of the cache.
inline int64_t position_stride(int64_t block_tiles, int64_t channels) {
  return block_tiles * channels + kChannelBlock;
}

// Numbers of the patches of one block of tiles.
inline int64_t patches_size(int64_t block_tiles, int64_t channels) {
  return kPositions * position_stride(block_tiles, channels);
}

class InputGradientWorker {
 public:
  explicit InputGradientWorker(const InputGradient& problem)
      : InputGradientWorker(problem, tiles_per_block(problem)) {}

  // Sources with room for their patches need the number of tiles that the room was made for.
  InputGradientWorker(const InputGradient& problem, int64_t block_tiles)
      : problem_(problem),
        block_tiles_(block_tiles),
        product_stride_(position_stride(block_tiles, problem.channels)),
        patches_(own_patches_size()),
        products_(kPositions * product_stride_),
        factors_(problem.sources.size()) {}

  // Computes tiles [first, last) of problem.tiles(), counted along rows, then columns, then
  // samples; with patches to be used again, first is a multiple of the block's size.
  void run(int64_t first, int64_t last) {
    Tile load = tile_at(first);
    Tile store = load;
    for (int64_t begin = first; begin < last; begin += block_tiles_) {
      const int64_t count = std::min(block_tiles_, last - begin);
      load_patches(load, begin / block_tiles_, count);
      for (int64_t position = 0; position < kPositions; ++position) {
        if (problem_.prefetch != nullptr) {
          problem_.prefetch->fetch();
        }
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

  int64_t own_patches_size() const {
    int64_t size = 0;
    for (const Source& source : problem_.sources) {
      size += source.patches == nullptr ? patches_size(block_tiles_, source.channels) : 0;
    }
    return size;
  }

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

  // The patches of one block of tiles of every source; moves `tile` behind the block.
  void load_patches(Tile& tile, int64_t block, int64_t count) {
    const Tile first = tile;
    float* own = patches_.data();
    for (std::size_t i = 0; i < factors_.size(); ++i) {
      const Source& source = problem_.sources[i];
      const int64_t size = patches_size(block_tiles_, source.channels);
      float* patches = source.patches == nullptr ? own : source.patches + block * size;
      own += source.patches == nullptr ? size : 0;
      factors_[i] = {.depth_blocks = source.channels / kChannelBlock,
                     .patches = patches,
                     .weights = source.weights};
      tile = first;
      for (int64_t slot = 0; slot < count; ++slot, advance(tile)) {
        if (!source.transformed) {
          prefetch_ahead(source, tile);
          source.rectify ? load_patch<true>(source, tile, patches + slot * kChannelBlock)
                         : load_patch<false>(source, tile, patches + slot * kChannelBlock);
        }
      }
    }
  }

  // Tiles are read in about the order in which their numbers lie in memory.
  void prefetch_ahead(const Source& source, const Tile& tile) const {
    const int64_t row = tile.sample * problem_.tile_rows() + tile.y / kTile;
    const int64_t index = row * problem_.tile_columns() + tile.x / kTile + kTilesAhead;
    const int64_t numbers = kTile * kTile * source.channels;
    if (index < problem_.tiles()) {
      prefetch(source.grad + index * numbers, numbers);
    }
  }

  template <bool kRectify>
  void load_patch(const Source& source, const Tile& tile, float* target) {
    const int64_t channels = source.channels;
    const int64_t stride = position_stride(block_tiles_, channels);
    const int64_t y = tile.y - 1;
    const int64_t x = tile.x - 1;
    const Inside inside{.top = std::max<int64_t>(0, -y),
                        .bottom = std::min(kPatch, problem_.height - y),
                        .left = std::max<int64_t>(0, -x),
                        .right = std::min(kPatch, problem_.width - x)};
    const auto transform =
        inside.is_whole() ? &transform_patch<kRectify, true> : &transform_patch<kRectify, false>;
    const float* first =
        source.grad + ((tile.sample * problem_.height + y) * problem_.width + x) * channels;
    for (int64_t c = 0; c < channels; c += kChannelBlock, target += block_tiles_ * kChannelBlock) {
      transform(first + c, problem_.width * channels, channels, inside, target, stride);
    }
  }

  // Moves the factors on to the next position.
  void multiply_position(int64_t position, int64_t tiles) {
    multiply({.factors = factors_.data(),
              .factor_count = static_cast<int64_t>(factors_.size()),
              .patches_stride = block_tiles_ * kChannelBlock,
              .products = products_.data() + position * product_stride_,
              .products_stride = block_tiles_ * kChannelBlock},
             tiles, problem_.channels / kChannelBlock);
    for (Factors& factors : factors_) {
      const int64_t channels = factors.depth_blocks * kChannelBlock;
      factors.patches += position_stride(block_tiles_, channels);
      factors.weights += channels * problem_.channels;
    }
  }

  void store_tile(const Tile& tile, int64_t slot) {
    const int64_t channels = problem_.channels;
    const int64_t numbers = problem_.height * problem_.width * channels;
    const int64_t first = (tile.y * problem_.width + tile.x) * channels;
    float* target = problem_.target.data + tile.sample * numbers + first;
    const uint8_t* mask = problem_.target.mask_of(tile.sample, numbers);
    mask = mask == nullptr ? nullptr : mask + first / 8;
    const int64_t rows = std::min(kTile, problem_.height - tile.y);
    const int64_t columns = std::min(kTile, problem_.width - tile.x);
    const float* products = products_.data() + slot * kChannelBlock;
    for (int64_t c = 0; c < channels;
         c += kChannelBlock, products += block_tiles_ * kChannelBlock) {
      Channels pixels[kTile][kTile];
      transform_products(products, product_stride_, pixels);
      if (rows == kTile && columns == kTile) {  // a copy that keeps them in registers
        store_pixels(pixels, kTile, kTile, target, c, mask);
      } else {
        store_pixels(pixels, rows, columns, target, c, mask);
      }
    }
  }

  [[gnu::always_inline]] void store_pixels(const Channels pixels[kTile][kTile], int64_t rows,
                                           int64_t columns, float* target, int64_t channel,
                                           const uint8_t* mask) const {
#pragma GCC unroll 4
    for (int64_t i = 0; i < rows; ++i) {
#pragma GCC unroll 4
      for (int64_t j = 0; j < columns; ++j) {
        store_gradient(target, (i * problem_.width + j) * problem_.channels + channel, pixels[i][j],
                       mask, problem_.target.add);
      }
    }
  }

  const InputGradient& problem_;
  int64_t block_tiles_;
  int64_t product_stride_;
  AlignedBuffer<float> patches_;
  AlignedBuffer<float> products_;
  std::vector<Factors> factors_;  // of the block and the position at hand
};

}  // namespace vkdnw::winograd
