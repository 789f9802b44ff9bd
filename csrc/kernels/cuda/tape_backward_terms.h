// The terms of a tape, for a tile of a gradient: four pixels of a column and four channels, in the
// registers of one thread. Threads of a warp have neighbouring columns, so that they read a row of
// a map's plane side by side, and mostly the same channels, so that they read a weight together.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/tape_backward_tables.h"

namespace vkdnw::cuda {

inline constexpr int kTilePixels = 4;
inline constexpr int kTileChannels = 4;

// A map of one sample.
struct MapView {
  const float* data;
  int channel_stride;
  int pixel_stride;
  int channels;
  int height;
  int width;

  __device__ float at(int channel, int pixel) const {
    return data[channel * channel_stride + pixel * pixel_stride];
  }
};

// Which pixels and channels of the result, and its size.
struct Tile {
  int y;
  int x;
  int channel;
  int channels;
  int height;
  int width;

  __device__ int pixel(int p) const { return (y + p) * width + x; }
  __device__ bool has(int p, int c) const { return y + p < height && channel + c < channels; }
};

struct TileSum {
  float value[kTilePixels][kTileChannels];

  // Adds factor[p] times the weights of the tile's channels.
  __device__ void add_products(const float (&factor)[kTilePixels], const float* weights) {
    struct alignas(16) Quad {
      float value[kTileChannels];
    };
    const Quad quad = *reinterpret_cast<const Quad*>(weights);
#pragma unroll
    for (int p = 0; p < kTilePixels; ++p) {
#pragma unroll
      for (int c = 0; c < kTileChannels; ++c) {
        value[p][c] += factor[p] * quad.value[c];
      }
    }
  }
};

// ---- convolutions ------------------------------------------------------------------------------

// Stride 1 and as many pixels as before, weights [source, kTaps, kTaps, channel]: the taps of a
// column share their loads.
template <int kTaps>
__device__ TileSum same_convolution(const TapeTerm& term, const MapView& from, const Tile& tile) {
  constexpr int kReach = kTaps / 2;
  constexpr int kColumn = kTilePixels + kTaps - 1;
  const int row_stride = from.width * from.pixel_stride;
  const float* weights = term.weights + tile.channel;
  TileSum sum{};
#pragma unroll 1
  for (int source = 0; source < from.channels; ++source, weights += kTaps * kTaps * tile.channels) {
#pragma unroll 1
    for (int kx = 0; kx < kTaps; ++kx) {
      const int x = tile.x + kReach - kx;
      const int top =
          source * from.channel_stride + (tile.y - kReach) * row_stride + x * from.pixel_stride;
      float column[kColumn];
#pragma unroll
      for (int i = 0; i < kColumn; ++i) {
        const int y = tile.y + i - kReach;
        const bool inside = x >= 0 && x < from.width && y >= 0 && y < from.height;
        column[i] = inside ? from.data[top + i * row_stride] : 0.0f;
      }
#pragma unroll
      for (int ky = 0; ky < kTaps; ++ky) {
        float factor[kTilePixels];
#pragma unroll
        for (int p = 0; p < kTilePixels; ++p) {
          factor[p] = column[p + kTaps - 1 - ky];
        }
        sum.add_products(factor, weights + (ky * kTaps + kx) * tile.channels);
      }
    }
  }
  return sum;
}

// Where along an axis the gradient is that a tap sends to a position; -1 for nowhere.
__device__ inline int reached(int position, int tap, int stride, int padding, int size) {
  const int distance = position + padding - tap;
  const int at = distance / stride;
  return distance >= 0 && at * stride == distance && at < size ? at : -1;
}

// Any kernel, stride and padding, weights [kernel_height, kernel_width, source, channel].
__device__ inline TileSum any_convolution(const TapeTerm& term, const MapView& from,
                                          const Tile& tile) {
  TileSum sum{};
#pragma unroll 1
  for (int kx = 0; kx < term.kernel_width; ++kx) {
    const int x = reached(tile.x, kx, term.stride, term.padding, from.width);
#pragma unroll 1
    for (int ky = 0; x >= 0 && ky < term.kernel_height; ++ky) {
      int pixel[kTilePixels];
#pragma unroll
      for (int p = 0; p < kTilePixels; ++p) {
        const int y = reached(tile.y + p, ky, term.stride, term.padding, from.height);
        pixel[p] = y < 0 ? -1 : y * from.width + x;
      }
      const int row = (ky * term.kernel_width + kx) * from.channels;
      const float* weights = term.weights + row * tile.channels + tile.channel;
#pragma unroll 1
      for (int source = 0; source < from.channels; ++source, weights += tile.channels) {
        float factor[kTilePixels];
#pragma unroll
        for (int p = 0; p < kTilePixels; ++p) {
          factor[p] = pixel[p] >= 0 ? from.at(source, pixel[p]) : 0.0f;
        }
        sum.add_products(factor, weights);
      }
    }
  }
  return sum;
}

// ---- layers that keep channels apart ------------------------------------------------------------

__device__ inline float depthwise_convolution(const TapeTerm& term, const MapView& from,
                                              int channel, int y, int x) {
  float sum = 0;
#pragma unroll 1
  for (int ky = 0; ky < term.kernel_height; ++ky) {
    const int row = reached(y, ky, term.stride, term.padding, from.height);
#pragma unroll 1
    for (int kx = 0; row >= 0 && kx < term.kernel_width; ++kx) {
      const int column = reached(x, kx, term.stride, term.padding, from.width);
      if (column >= 0) {
        sum += from.at(channel, row * from.width + column) *
               term.weights[(ky * term.kernel_width + kx) * from.channels + channel];
      }
    }
  }
  return sum;
}

// 1 / the number of inputs along one axis of the window of three around `position`.
__device__ inline float inverse_count(int position, int size) {
  const int count = 1 + (position > 0 ? 1 : 0) + (position + 1 < size ? 1 : 0);
  return count == 3 ? 1.0f / 3 : 1.0f / static_cast<float>(count);
}

__device__ inline float average_of_three(const MapView& from, int channel, int y, int x) {
  float sum = 0;
#pragma unroll 1
  for (int j = x > 0 ? x - 1 : 0; j <= x + 1 && j < from.width; ++j) {
    float column = 0;
#pragma unroll 1
    for (int i = y > 0 ? y - 1 : 0; i <= y + 1 && i < from.height; ++i) {
      column += inverse_count(i, from.height) * from.at(channel, i * from.width + j);
    }
    sum += column * inverse_count(j, from.width);
  }
  return sum;
}

__device__ inline float mean(const TapeTerm& term, const MapView& from, int channel, int y, int x) {
  const int i = y / term.stride;
  const int j = x / term.stride;
  const float share = 1.0f / static_cast<float>(term.stride * term.stride);
  return i < from.height && j < from.width ? share * from.at(channel, i * from.width + j) : 0.0f;
}

__device__ inline float of_one_channel(const TapeTerm& term, const MapView& from, int channel,
                                       int y, int x) {
  switch (term.layer) {
    case tape::Layer::kDepthwiseConv:
      return depthwise_convolution(term, from, channel, y, x);
    case tape::Layer::kAvgPool3x3:
      return average_of_three(from, channel, y, x);
    case tape::Layer::kMeanPool:
      return mean(term, from, channel, y, x);
    case tape::Layer::kScale:
      return *term.weights * from.at(channel, y * from.width + x);
    default:
      return from.at(channel, y * from.width + x);
  }
}

// ---- a term -------------------------------------------------------------------------------------

// Where a tile's numbers go, and which of them a ReLU's mask stops. Bits are those of NHWC numbers,
// see kernels/layers/relu_mask.h; channels are a multiple of 16 where there is a mask.
struct Target {
  float* data;
  const uint8_t* mask;  // of the sample; or null
  bool add;

  // Bit c: whether the number of the tile's channel c passes.
  __device__ int passing(const Tile& tile, int p) const {
    const int first = tile.pixel(p) * tile.channels + tile.channel;
    return mask == nullptr ? -1 : mask[first / 8] >> (first % 8);
  }

  __device__ void put(const Tile& tile, int p, int c, float number) const {
    float& sum = data[(tile.channel + c) * tile.height * tile.width + tile.pixel(p)];
    sum = add ? sum + number : number;
  }
};

// Of a convolution, whose channels are multiples of a tile's.
__device__ inline void put_all(const TileSum& sum, const Tile& tile, const Target& target) {
#pragma unroll
  for (int p = 0; p < kTilePixels; ++p) {
    if (tile.y + p < tile.height) {
      const int passing = target.passing(tile, p);
#pragma unroll
      for (int c = 0; c < kTileChannels; ++c) {
        target.put(tile, p, c, (passing >> c & 1) != 0 ? sum.value[p][c] : 0.0f);
      }
    }
  }
}

// A number at a time: unrolled, all layers for all numbers of a tile would need too many registers.
__device__ inline void put_each(const TapeTerm& term, const MapView& from, const Tile& tile,
                                const Target& target) {
#pragma unroll 1
  for (int i = 0; i < kTilePixels * kTileChannels; ++i) {
    const int p = i % kTilePixels;
    const int c = i / kTilePixels;
    if (tile.has(p, c)) {
      const float number = of_one_channel(term, from, tile.channel + c, tile.y + p, tile.x);
      target.put(tile, p, c, (target.passing(tile, p) >> c & 1) != 0 ? number : 0.0f);
    }
  }
}

__device__ inline TileSum convolution(const TapeTerm& term, const MapView& from, const Tile& tile) {
  switch (term.layer) {
    case tape::Layer::kConv3x3:
      return same_convolution<3>(term, from, tile);
    case tape::Layer::kConv1x1:
      return same_convolution<1>(term, from, tile);
    default:
      return any_convolution(term, from, tile);
  }
}

__device__ inline bool joins_channels(tape::Layer layer) {
  return layer == tape::Layer::kConv3x3 || layer == tape::Layer::kConv1x1 ||
         layer == tape::Layer::kStridedConv;
}

__device__ inline void put_term(const TapeTerm& term, const MapView& from, const Tile& tile,
                                const Target& target) {
  if (joins_channels(term.layer)) {
    put_all(convolution(term, from, tile), tile, target);
  } else {
    put_each(term, from, tile, target);
  }
}

}  // namespace vkdnw::cuda
