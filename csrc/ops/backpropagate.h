// Arguments of vkdnw::backpropagate_, checked and in the kernels' terms.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "kernels/tape/tape.h"

namespace vkdnw {

struct BackpropagateArguments {
  const torch::stable::Tensor& planes;                    // flat; its device is that of the next
  const std::vector<torch::stable::Tensor>& cotangents;   // each [N, C, H, W] channels_last
  const std::vector<torch::stable::Tensor>& weights;      // as the layers of the terms need them
  const std::vector<torch::stable::Tensor>& masks;        // each [M, H, W, C / 8] uint8
  const std::vector<torch::stable::Tensor>& norm_inputs;  // each [N, C, H, W] channels_last
  const std::vector<torch::stable::Tensor>& norm_statistics;  // each [2, C] float64
  const std::vector<torch::stable::Tensor>& norm_weights;     // each [C]
  const torch::stable::Tensor& values;                        // [V, 3] int64
  const torch::stable::Tensor& terms;                         // [T, 8] int64
  const torch::stable::Tensor& readings;                      // [R, 4] int64
  const torch::stable::Tensor& matrices;                      // flat
  const torch::stable::Tensor& products;                      // [Q, 3] int64
};

// Throws std::invalid_argument, naming the argument, unless all sizes, dtypes, devices and numbers
// are consistent. Tables are on the CPU, and so are norms and products. The kernels read and write
// memory without further checks.
tape::Tape checked_tape(const BackpropagateArguments& arguments);

// The op of a device: calls `run` with the checked tape. `planes` tells it the device.
template <void (*run)(const tape::Tape&, const torch::stable::Tensor& planes)>
void backpropagate_(torch::stable::Tensor planes,
                    const std::vector<torch::stable::Tensor>& cotangents,
                    const std::vector<torch::stable::Tensor>& weights,
                    const std::vector<torch::stable::Tensor>& masks,
                    const std::vector<torch::stable::Tensor>& norm_inputs,
                    const std::vector<torch::stable::Tensor>& norm_statistics,
                    const std::vector<torch::stable::Tensor>& norm_weights,
                    const torch::stable::Tensor& values, const torch::stable::Tensor& terms,
                    const torch::stable::Tensor& readings, torch::stable::Tensor matrices,
                    const torch::stable::Tensor& products) {
  run(checked_tape({planes, cotangents, weights, masks, norm_inputs, norm_statistics, norm_weights,
                    values, terms, readings, matrices, products}),
      planes);
}

}  // namespace vkdnw
