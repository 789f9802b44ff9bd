#include "ops/jacobian_columns.h"

#include <torch/csrc/stable/library.h>

#include "ops/check.h"

namespace vkdnw {
namespace {

using torch::headeronly::ScalarType;

constexpr int64_t kPickFields = 10;
constexpr int64_t kAffineFields = 2;

// The dtype, device and sizes that all tensors of layers share.
struct Expected {
  ScalarType dtype;
  torch::stable::Device device;
  int64_t samples;
  int64_t cotangents;
};

void require_alike(const char* list, size_t layer, const Tensor& tensor, int64_t dim,
                   const Expected& expected) {
  require(tensor.dim() == dim, list, "[", layer, "] has ", tensor.dim(), " dimensions, not ", dim,
          "; unsqueeze the missing spatial dimensions");
  require(tensor.scalar_type() == expected.dtype, list, "[", layer, "] is ",
          torch::headeronly::toString(tensor.scalar_type()), " but inputs[0] is ",
          torch::headeronly::toString(expected.dtype), "; all must have one dtype");
  require(tensor.device() == expected.device, list, "[", layer,
          "] is on another device than the Jacobian");
}

template <typename Storage>
LayerTensor<Storage> layer_tensor(const Tensor& tensor) {
  const auto sizes = tensor.sizes();
  const auto strides = tensor.strides();
  const size_t sample = sizes.size() - 5;
  return {.data = static_cast<const Storage*>(tensor.const_data_ptr()),
          .extent = {sizes[sample + 2], sizes[sample + 3], sizes[sample + 4]},
          .cotangent_stride = sample == 1 ? strides[0] : 0,
          .sample_stride = strides[sample],
          .channel_stride = strides[sample + 1],
          .stride = {strides[sample + 2], strides[sample + 3], strides[sample + 4]}};
}

template <typename Storage>
void append_layer(JacobianColumnsProblem<Storage>& problem, size_t layer, const Tensor& input,
                  const Tensor& grad, const Expected& expected) {
  require_alike("inputs", layer, input, 5, expected);
  require_alike("grads", layer, grad, 6, expected);
  require(input.size(0) == expected.samples, "inputs[", layer, "] has ", input.size(0),
          " samples but the Jacobian has ", expected.samples);
  require(grad.size(0) == expected.cotangents && grad.size(1) == expected.samples, "grads[", layer,
          "] has ", grad.size(0), " cotangents of ", grad.size(1), " samples but the Jacobian has ",
          expected.cotangents, " of ", expected.samples);
  problem.inputs.push_back(layer_tensor<Storage>(input));
  problem.grads.push_back(layer_tensor<Storage>(grad));
}

void require_pick(const JacobianColumnsArguments& arguments, int64_t row, const Pick& pick) {
  const int64_t columns = arguments.jacobian.size(2);
  const int64_t layers = static_cast<int64_t>(arguments.inputs.size());
  require(pick.column >= 0 && pick.column < columns, "picks[", row, "] names column ", pick.column,
          " of a Jacobian with ", columns, " columns");
  require(pick.layer >= 0 && pick.layer < layers, "picks[", row, "] names layer ", pick.layer,
          " of ", layers);
  const int64_t grad_channels = arguments.grads[pick.layer].size(2);
  require(pick.grad_channel >= 0 && pick.grad_channel < grad_channels, "picks[", row,
          "] names channel ", pick.grad_channel, " of grads[", pick.layer, "], which has ",
          grad_channels);
  if (pick.input_channel == Pick::kOnes) {
    return;
  }
  const int64_t input_channels = arguments.inputs[pick.layer].size(1);
  require(pick.input_channel >= 0 && pick.input_channel < input_channels, "picks[", row,
          "] names channel ", pick.input_channel, " of inputs[", pick.layer, "], which has ",
          input_channels, " (-1 stands for a factor of ones)");
  for (const int64_t step : pick.step) {
    require(step >= 1, "picks[", row, "] has step ", step, "; steps are at least 1");
  }
}

std::vector<Pick> checked_picks(const JacobianColumnsArguments& arguments) {
  const Tensor& picks = arguments.picks;
  const Tensor& affine = arguments.affine;
  require(picks.dim() == 2 && picks.size(1) == kPickFields && picks.is_cpu() &&
              picks.is_contiguous() && picks.scalar_type() == ScalarType::Long,
          "picks must be a contiguous int64 CPU tensor of shape [Q, ", kPickFields, "]");
  require(affine.dim() == 2 && affine.size(0) == picks.size(0) && affine.size(1) == kAffineFields &&
              affine.is_cpu() && affine.is_contiguous() &&
              affine.scalar_type() == ScalarType::Double,
          "affine must be a contiguous float64 CPU tensor of shape [", picks.size(0), ", ",
          kAffineFields, "], one row for each pick");
  const int64_t count = picks.size(0);
  std::vector<Pick> result;
  result.reserve(count);
  const int64_t* field = static_cast<const int64_t*>(picks.const_data_ptr());
  const double* shift_scale = static_cast<const double*>(affine.const_data_ptr());
  for (int64_t row = 0; row < count; ++row, field += kPickFields, shift_scale += kAffineFields) {
    result.push_back({.column = field[0],
                      .layer = field[1],
                      .grad_channel = field[2],
                      .input_channel = field[3],
                      .start = {field[4], field[5], field[6]},
                      .step = {field[7], field[8], field[9]},
                      .shift = shift_scale[0],
                      .scale = shift_scale[1]});
    require_pick(arguments, row, result.back());
  }
  return result;
}

void require_jacobian(const Tensor& jacobian, ScalarType storage) {
  require(jacobian.dim() == 3, "jacobian has ", jacobian.dim(), " dimensions, not 3: [b, K, P]");
  const ScalarType dtype = storage == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  require(jacobian.scalar_type() == dtype, "jacobian is ",
          torch::headeronly::toString(jacobian.scalar_type()), "; for layers of ",
          torch::headeronly::toString(storage), " it must be ", torch::headeronly::toString(dtype));
  require(jacobian.size(2) <= 1 || jacobian.stride(2) == 1, "jacobian has stride ",
          jacobian.stride(2), " along its columns; make them contiguous");
}

}  // namespace

ScalarType storage_dtype(const JacobianColumnsArguments& arguments) {
  return arguments.inputs.empty() ? arguments.jacobian.scalar_type()
                                  : arguments.inputs[0].scalar_type();
}

template <typename Storage>
JacobianColumnsProblem<Storage> checked_problem(const JacobianColumnsArguments& arguments) {
  const Tensor& jacobian = arguments.jacobian;
  const ScalarType storage = storage_dtype(arguments);
  require_jacobian(jacobian, storage);
  const size_t layers = arguments.inputs.size();
  require(arguments.grads.size() == layers, "grads has ", arguments.grads.size(),
          " layers but inputs has ", layers);

  JacobianColumnsProblem<Storage> problem{
      .samples = jacobian.size(0),
      .cotangents = jacobian.size(1),
      .inputs = {},
      .grads = {},
      .picks = {},
      .jacobian = static_cast<Accumulator<Storage>*>(jacobian.mutable_data_ptr()),
      .jacobian_sample_stride = jacobian.stride(0),
      .jacobian_cotangent_stride = jacobian.stride(1)};
  const Expected expected{.dtype = storage,
                          .device = jacobian.device(),
                          .samples = problem.samples,
                          .cotangents = problem.cotangents};
  problem.inputs.reserve(layers);
  problem.grads.reserve(layers);
  for (size_t layer = 0; layer < layers; ++layer) {
    append_layer(problem, layer, arguments.inputs[layer], arguments.grads[layer], expected);
  }
  problem.picks = checked_picks(arguments);
  return problem;
}

template JacobianColumnsProblem<double> checked_problem(const JacobianColumnsArguments&);
template JacobianColumnsProblem<float> checked_problem(const JacobianColumnsArguments&);
template JacobianColumnsProblem<Float16> checked_problem(const JacobianColumnsArguments&);
template JacobianColumnsProblem<BFloat16> checked_problem(const JacobianColumnsArguments&);

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def(
      "jacobian_columns_(Tensor(a!) jacobian, Tensor[] inputs, Tensor[] grads, Tensor picks, "
      "Tensor affine) -> ()");
}

}  // namespace vkdnw
