#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <tuple>
#include <vector>

#include "kernels/conv/conv1x1.h"
#include "kernels/conv/conv_moments.h"
#include "ops/convolution.h"
#include "ops/cpu/moments.h"
#include "ops/results.h"

namespace vkdnw {
namespace {

using torch::stable::Tensor;

Tensor empty_output(const Tensor& x, int64_t channels) {
  return empty_images({x.size(0), channels, x.size(2), x.size(3)});
}

// Writes the output, and returns its moments.
template <typename Worker, typename Convolution>
Tensor convolve(const Convolution& conv, const Tensor& output) {
  const batch_norm::Size size{.samples = output.size(0),
                              .pixels = output.size(2) * output.size(3),
                              .channels = output.size(1)};
  std::vector<double> sums(size.samples * 2 * size.channels);
  const float* data = floats_of(output);
  const conv_moments::Output target{.size = size, .data = data, .sums = sums.data()};
  Worker worker(conv);
  conv_moments::convolve(worker, target, 0, 1);  // its first pixel is the origin of all sums
  torch::stable::parallel_for(1, target.pieces(), 1, [&](int64_t first, int64_t last) {
    Worker own(conv);
    conv_moments::convolve(own, target, first, last);
  });
  batch_norm::add_samples(size, sums.data());
  return moments_table(size, data, sums.data(), output);
}

std::tuple<Tensor, Tensor> convolve3x3(const Tensor& x, const Tensor& transformed, bool rectify) {
  winograd::InputGradient conv = checked_conv3x3(x, transformed, rectify);
  Tensor output = empty_output(x, conv.channels);
  conv.target.data = writable_floats(output);
  return {output, convolve<conv_moments::Conv3x3Worker>(conv, output)};
}

// From [Co, Ci, 1, 1] to [Ci, Co].
std::vector<float> by_input_channel(const Tensor& weight) {
  const Tensor plain = torch::stable::contiguous(weight);
  const float* weights = floats_of(plain);
  const int64_t outputs = plain.size(0);
  const int64_t inputs = plain.size(1);
  std::vector<float> transposed(outputs * inputs);
  for (int64_t output = 0; output < outputs; ++output) {
    for (int64_t input = 0; input < inputs; ++input) {
      transposed[input * outputs + output] = weights[output * inputs + input];
    }
  }
  return transposed;
}

std::tuple<Tensor, Tensor> convolve1x1(const Tensor& x, const Tensor& weight, bool rectify) {
  conv1x1::Convolution conv = checked_conv1x1(x, weight, rectify);
  const std::vector<float> weights = by_input_channel(weight);
  Tensor output = empty_output(x, conv.channels);
  conv.weights = weights.data();
  conv.result = writable_floats(output);
  return {output, convolve<conv1x1::ConvolutionWorker>(conv, output)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("conv3x3", TORCH_BOX(&convolve3x3));
  m.impl("conv1x1", TORCH_BOX(&convolve1x1));
}

}  // namespace vkdnw
