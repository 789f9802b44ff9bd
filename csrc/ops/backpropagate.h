// Arguments of vkdnw::backpropagate_, checked and in the kernels' terms.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

#include "kernels/tape/tape.h"

namespace vkdnw {

struct BackpropagateArguments {
  const torch::stable::Tensor& planes;                    // flat; its device is that of the next
  const std::vector<torch::stable::Tensor>& seeds;        // each [N, C, H, W] channels_last
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

}  // namespace vkdnw
