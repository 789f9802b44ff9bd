#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <array>
#include <tuple>
#include <vector>

#include "ops/batch_norm.h"
#include "ops/cpu/moments.h"
#include "ops/results.h"

namespace vkdnw {
namespace {

using batch_norm::Coefficients;
using batch_norm::Size;
using batch_norm::Statistics;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Floats below which handing work to another thread costs more than it saves.
constexpr int64_t kFloatsPerThread = 64 * 1024;

template <typename Number>
Number* empty_table(Tensor& table, const Tensor& like, ScalarType type, int64_t rows) {
  const std::array<int64_t, 2> shape{rows, like.size(1)};
  table = torch::stable::new_empty(like, shape, type);
  return static_cast<Number*>(table.mutable_data_ptr());
}

// work(sample), for each of them.
template <typename Work>
void for_each_sample(const Size& size, const Work& work) {
  torch::stable::parallel_for(0, size.samples, kFloatsPerThread / size.floats_per_sample() + 1,
                              [&](int64_t first, int64_t last) {
                                for (int64_t sample = first; sample < last; ++sample) {
                                  work(sample);
                                }
                              });
}

// [2, C]: sums of a and of a (x - origin), or of x - origin and its squares.
template <bool kSquares>
std::vector<double> sums(const Size& size, const float* a, const float* x, const float* origin) {
  std::vector<double> by_sample(size.samples * 2 * size.channels);
  for_each_sample(size, [&](int64_t sample) {
    const int64_t first = sample * size.floats_per_sample();
    batch_norm::sum_products<kSquares, 1>(size, {a + first}, x + first, origin,
                                          {by_sample.data() + sample * 2 * size.channels});
  });
  batch_norm::add_samples(size, by_sample.data());
  return by_sample;
}

Tensor channel_moments(const Tensor& x) {
  const Size size = checked_norm_size(x);
  const float* origin = floats_of(x);  // its first pixel
  const std::vector<double> sum = sums<true>(size, floats_of(x), floats_of(x), origin);
  return moments_table(size, origin, sum.data(), x);
}

std::tuple<Tensor, Tensor> batch_norm_factors(const Tensor& moments, double eps,
                                              const std::optional<Tensor>& weight,
                                              const std::optional<Tensor>& bias) {
  const int64_t channels = moments.dim() == 2 ? moments.size(1) : 0;
  const double* moment = checked_moments(moments, channels);
  const float* weights = checked_by_channel("weight", weight, channels);
  const float* biases = checked_by_channel("bias", bias, channels);
  Tensor statistics;
  double* statistic = empty_table<double>(statistics, moments, ScalarType::Double, 2);
  Tensor factors;
  float* factor = empty_table<float>(factors, moments, ScalarType::Float, 3);
  for (int64_t c = 0; c < channels; ++c) {
    const Statistics found = batch_norm::statistics({moment[c], moment[channels + c]}, eps);
    statistic[c] = found.mean;
    statistic[channels + c] = found.inverse_deviation;
    factor[c] = static_cast<float>((weights ? weights[c] : 1) * found.inverse_deviation);
    factor[channels + c] = static_cast<float>(found.mean);
    factor[2 * channels + c] = biases ? biases[c] : 0;
  }
  return {statistics, factors};
}

std::tuple<Tensor, Tensor> batch_norm_coefficients(const Tensor& grad, const Tensor& x,
                                                   const Tensor& statistics,
                                                   const std::optional<Tensor>& weight) {
  const Size size = checked_norm_pair("grad", grad, x);
  const int64_t channels = size.channels;
  const double* by_channel = checked_statistics(statistics, channels);
  const float* weights = checked_by_channel("weight", weight, channels);
  const std::vector<float> means(by_channel, by_channel + channels);
  const std::vector<double> sum = sums<false>(size, floats_of(grad), floats_of(x), means.data());
  Tensor table;
  float* row = empty_table<float>(table, x, ScalarType::Float, 4);
  Tensor of_parameters;
  double* gradients = empty_table<double>(of_parameters, x, ScalarType::Double, 2);
  for (int64_t c = 0; c < channels; ++c) {
    const Statistics found{by_channel[c], by_channel[channels + c]};
    const batch_norm::Gradients all = batch_norm::gradients(found, weights ? weights[c] : 1, sum[c],
                                                            sum[channels + c], size.count());
    row[c] = static_cast<float>(all.scale);
    row[channels + c] = static_cast<float>(all.slope);
    row[2 * channels + c] = static_cast<float>(found.mean);
    row[3 * channels + c] = static_cast<float>(all.offset);
    gradients[c] = all.of_weight;
    gradients[channels + c] = sum[c];
  }
  return {table, of_parameters};
}

Tensor batch_norm_input_gradient(const Tensor& grad, const Tensor& x, const Tensor& coefficients) {
  const Size size = checked_norm_pair("grad", grad, x);
  const Coefficients by = checked_coefficients(coefficients, size.channels);
  Tensor result = empty_images(ImageSizes::of(x));
  float* target = writable_floats(result);
  for_each_sample(size, [&](int64_t sample) {
    const int64_t first = sample * size.floats_per_sample();
    batch_norm::input_gradient(by, size.pixels, size.channels, floats_of(grad) + first,
                               floats_of(x) + first, target + first);
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(vkdnw, CPU, m) {
  m.impl("channel_moments", TORCH_BOX(&channel_moments));
  m.impl("batch_norm_factors", TORCH_BOX(&batch_norm_factors));
  m.impl("batch_norm_coefficients", TORCH_BOX(&batch_norm_coefficients));
  m.impl("batch_norm_input_gradient", TORCH_BOX(&batch_norm_input_gradient));
}

}  // namespace vkdnw
