// Runs a tape: a block takes one sample after the other through a whole network, and its gradients
// stay in shared memory. float32, in products and sums.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/tape_backward_launch.h"
#include "kernels/cuda/tape_backward_terms.h"

namespace vkdnw::cuda {

inline constexpr int kTapeThreads = 512;

struct DeviceTape {
  const TapeMap* maps;
  const TapeTerm* terms;
  const TapeReading* readings;
  const TapeStep* steps;
  const TapeComponent* components;
  int64_t samples;
  int64_t mask_samples;
  int64_t items;  // samples of components
  float* gradients;
  int64_t gradients_of_block;
};

// One sample's tape in a block, with the block's memory.
struct TapeBlock {
  const DeviceTape& tape;
  int64_t sample;
  float* shared;
  float* global;

  __device__ MapView view(int value) const {
    const TapeMap& map = tape.maps[value];
    const int pixels = map.height * map.width;
    if (map.cotangent != nullptr) {
      const int64_t floats = int64_t{map.channels} * pixels;
      return {
          map.cotangent + sample * floats, 1, map.channels, map.channels, map.height, map.width};
    }
    return {memory(map), pixels, 1, map.channels, map.height, map.width};
  }

  __device__ float* memory(const TapeMap& map) const {
    return (map.shared ? shared : global) + map.memory;
  }

  __device__ const uint8_t* mask(const TapeTerm& term, const TapeMap& map) const {
    const int64_t bytes = int64_t{map.channels} / 8 * map.height * map.width;
    return term.mask == nullptr ? nullptr : term.mask + sample % tape.mask_samples * bytes;
  }

  // The sum of a step's terms, a tile a thread at a time. The sum so far waits in memory: a term
  // needs the registers.
  __device__ void compute(const TapeStep& step) const {
    const TapeMap& map = tape.maps[step.destination];
    const int places = (map.height + kTilePixels - 1) / kTilePixels * map.width;
    const int tiles = places * ((map.channels + kTileChannels - 1) / kTileChannels);
    for (int i = static_cast<int>(threadIdx.x); i < tiles; i += static_cast<int>(blockDim.x)) {
      const int place = i % places;
      const Tile tile{place / map.width * kTilePixels,
                      place % map.width,
                      i / places * kTileChannels,
                      map.channels,
                      map.height,
                      map.width};
      for (int number = step.first_term; number < step.last_term; ++number) {
        const TapeTerm& term = tape.terms[number];
        put_term(term, view(term.source), tile,
                 {memory(map), mask(term, map), number > step.first_term});
      }
    }
  }

  __device__ void read(const TapeStep& step) const {
    const MapView from = view(step.destination);
    const int pixels = from.height * from.width;
    for (int i = step.first_reading; i < step.last_reading; ++i) {
      const TapeReading& reading = tape.readings[i];
      float* plane = reading.planes + sample * reading.sample_stride;
      for (int pixel = static_cast<int>(threadIdx.x); pixel < pixels;
           pixel += static_cast<int>(blockDim.x)) {
        plane[pixel] = from.at(static_cast<int>(reading.channel), pixel);
      }
    }
  }
};

// All threads meet behind each step that computes: then its result may be read, and maps that
// only it has read may be overwritten.
__global__ __launch_bounds__(kTapeThreads) void run_tape(DeviceTape tape) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  TapeBlock block{tape, 0, reinterpret_cast<float*>(shared_bytes),
                  tape.gradients + blockIdx.x * tape.gradients_of_block};
  for (int64_t item = blockIdx.x; item < tape.items; item += gridDim.x) {
    const TapeComponent& component = tape.components[item / tape.samples];
    block.sample = item % tape.samples;
    for (int i = component.first_step; i < component.last_step; ++i) {
      const TapeStep& step = tape.steps[i];
      if (step.first_term < step.last_term) {
        block.compute(step);
        __syncthreads();
      }
      block.read(step);
    }
    __syncthreads();
  }
}

cudaError_t tape_limits(TapeLimits& limits) {
  int device = 0;
  int processors = 0;
  int64_t bytes = 0;
  VKDNW_RETURN_IF_CUDA_FAILS(cudaGetDevice(&device));
  VKDNW_RETURN_IF_CUDA_FAILS(
      cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  VKDNW_RETURN_IF_CUDA_FAILS(most_shared_bytes(bytes));
  limits = {bytes / static_cast<int64_t>(sizeof(float)), processors};
  return cudaSuccess;
}

cudaError_t launch_tape_backward(const TapeTables& tables, int64_t blocks, unsigned char* scratch,
                                 cudaStream_t stream) {
  const TapeScratch layout = tape_scratch(tables, blocks);
  const std::vector<unsigned char> bytes = packed(tables, layout);
  VKDNW_RETURN_IF_CUDA_FAILS(
      cudaMemcpyAsync(scratch, bytes.data(), bytes.size(), cudaMemcpyHostToDevice, stream));
  const DeviceTape tape{reinterpret_cast<const TapeMap*>(scratch),
                        reinterpret_cast<const TapeTerm*>(scratch + layout.terms),
                        reinterpret_cast<const TapeReading*>(scratch + layout.readings),
                        reinterpret_cast<const TapeStep*>(scratch + layout.steps),
                        reinterpret_cast<const TapeComponent*>(scratch + layout.components),
                        tables.samples,
                        tables.mask_samples,
                        tables.items(),
                        reinterpret_cast<float*>(scratch + layout.gradients),
                        tables.global_floats};
  int64_t most = 0;
  VKDNW_RETURN_IF_CUDA_FAILS(most_shared_bytes(most));
  VKDNW_RETURN_IF_CUDA_FAILS(cudaFuncSetAttribute(
      run_tape, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(most)));
  const int64_t shared = tables.shared_floats * static_cast<int64_t>(sizeof(float));
  return launch(run_tape, std::min(blocks, tables.items()), kTapeThreads, shared, stream, tape);
}

}  // namespace vkdnw::cuda
