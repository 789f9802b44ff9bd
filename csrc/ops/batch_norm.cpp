#include "ops/batch_norm.h"

#include <torch/csrc/stable/library.h>

#include "ops/channels_last.h"
#include "ops/check.h"

namespace vkdnw {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr const char* kOtherwise = "torch.nn.functional.batch_norm";

bool is_table(const Tensor& tensor, ScalarType type, int64_t rows, int64_t channels) {
  return tensor.dim() == 2 && tensor.is_cpu() && tensor.is_contiguous() &&
         tensor.scalar_type() == type && tensor.size(0) == rows && tensor.size(1) == channels;
}

}  // namespace

batch_norm::Size checked_map_size(const Tensor& x) {
  require_channels_last("x", x, "[B, C, H, W]", kOtherwise);
  require(x.size(1) > 0 && x.size(1) % batch_norm::kChannelMultiple == 0, "x has ", x.size(1),
          " channels; they must be a multiple of ", batch_norm::kChannelMultiple,
          "; for others, use ", kOtherwise);
  return {.samples = x.size(0), .pixels = x.size(2) * x.size(3), .channels = x.size(1)};
}

batch_norm::Size checked_norm_size(const Tensor& x) {
  const batch_norm::Size size = checked_map_size(x);
  require(size.samples * size.pixels > 1, "x has ", size.samples * size.pixels,
          " numbers in a channel, and a variance takes at least 2");
  return size;
}

void require_alike(const char* name, const Tensor& tensor, const char* other, const Tensor& x) {
  require_channels_last(name, tensor, "[B, C, H, W]", kOtherwise);
  for (int64_t dim = 0; dim < 4; ++dim) {
    require(tensor.size(dim) == x.size(dim), name, " has size ", tensor.size(dim), " and ", other,
            " ", x.size(dim), " in dimension ", dim, "; they are of one shape");
  }
}

batch_norm::Size checked_norm_pair(const char* name, const Tensor& tensor, const Tensor& x) {
  const batch_norm::Size size = checked_norm_size(x);
  require_alike(name, tensor, "x", x);
  return size;
}

const float* checked_by_channel(const char* name, const std::optional<Tensor>& tensor,
                                int64_t channels) {
  if (!tensor.has_value()) {
    return nullptr;
  }
  require_float_on_cpu(name, *tensor, 1, "[C]", kOtherwise);
  require(tensor->size(0) == channels && tensor->is_contiguous(), name, " has ", tensor->size(0),
          " numbers for ", channels, " channels, or is not contiguous");
  return static_cast<const float*>(tensor->const_data_ptr());
}

const double* checked_moments(const Tensor& moments, int64_t channels) {
  require(is_table(moments, ScalarType::Double, 2, channels),
          "moments is not what channel_moments returns for ", channels,
          " channels; pass its result unchanged");
  return static_cast<const double*>(moments.const_data_ptr());
}

const double* checked_statistics(const Tensor& statistics, int64_t channels) {
  require(is_table(statistics, ScalarType::Double, 2, channels),
          "statistics is not what batch_norm_statistics returns for ", channels,
          " channels; pass its result unchanged");
  return static_cast<const double*>(statistics.const_data_ptr());
}

batch_norm::Coefficients checked_coefficients(const Tensor& coefficients, int64_t channels) {
  require(is_table(coefficients, ScalarType::Float, 4, channels),
          "coefficients is not what batch_norm_coefficients returns for ", channels,
          " channels; pass its result unchanged");
  const float* row = static_cast<const float*>(coefficients.const_data_ptr());
  return {.scale = row,
          .slope = row + channels,
          .mean = row + 2 * channels,
          .shift = row + 3 * channels};
}

batch_norm::Coefficients checked_factors(const Tensor& factors, int64_t channels) {
  if (factors.numel() == 0) {
    return {.scale = nullptr, .slope = nullptr, .mean = nullptr, .shift = nullptr};
  }
  require(is_table(factors, ScalarType::Float, 3, channels),
          "factors is not what batch_norm_factors returns for ", channels,
          " channels; pass its result unchanged");
  const float* row = static_cast<const float*>(factors.const_data_ptr());
  return {.scale = row, .slope = nullptr, .mean = row + channels, .shift = row + 2 * channels};
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def("channel_moments(Tensor x) -> Tensor");
  m.def(
      "batch_norm_factors(Tensor moments, float eps, Tensor? weight, Tensor? bias) -> "
      "(Tensor, Tensor)");
  m.def(
      "batch_norm_coefficients(Tensor grad, Tensor x, Tensor statistics, Tensor? weight) -> "
      "(Tensor, Tensor)");
  m.def("batch_norm_input_gradient(Tensor grad, Tensor x, Tensor coefficients) -> Tensor");
}

}  // namespace vkdnw
