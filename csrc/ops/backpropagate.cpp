#include "ops/backpropagate.h"

#include <torch/csrc/stable/library.h>

#include "kernels/conv/row_products.h"
#include "kernels/conv/winograd3x3.h"
#include "kernels/tape/tape_products.h"
#include "ops/batch_norm.h"
#include "ops/channels_last.h"
#include "ops/check.h"
#include "ops/conv_weights.h"

namespace vkdnw {
namespace {

using tape::Layer;
using tape::Tape;
using tape::Term;
using tape::Value;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr const char* kOtherwise = "torch.autograd.grad";

// The rows of a table of numbers.
const int64_t* checked_table(const char* name, const Tensor& table, int64_t columns) {
  require(table.dim() == 2 && table.size(1) == columns && table.is_cpu() && table.is_contiguous() &&
              table.scalar_type() == ScalarType::Long,
          name, " must be a contiguous int64 CPU tensor with ", columns, " columns");
  return static_cast<const int64_t*>(table.const_data_ptr());
}

// A kernel reads its inputs on the device of its output.
void require_beside_planes(const char* name, const Tensor& tensor, const Tensor& planes) {
  require(tensor.device() == planes.device(), name, " is on another device than planes");
}

void add_values(const BackpropagateArguments& arguments, Tape& tape) {
  const int64_t* row = checked_table("values", arguments.values, 3);
  for (int64_t i = 0; i < arguments.values.size(0); ++i, row += 3) {
    require(row[0] > 0 && row[1] > 0 && row[2] > 0, "values[", i, "] has size ", row[0], " x ",
            row[1], " x ", row[2], "; channels, height and width are at least 1");
    tape.values.push_back({.channels = row[0], .height = row[1], .width = row[2]});
  }
}

void require_packed(std::size_t number, const Tensor& cotangent) {
  require(cotangent.dim() == 4 && cotangent.is_contiguous() && cotangent.size(3) % 2 == 0,
          "cotangents[", number,
          "] must be a contiguous tensor [N, H, W, C / 8] of signs, with C a multiple of 16");
}

// Of numbers [N, C, H, W], or signs [N, H, W, C / 8].
Value size_of_cotangent(const Tensor& cotangent) {
  if (cotangent.scalar_type() == ScalarType::Byte) {
    return {
        .channels = 8 * cotangent.size(3), .height = cotangent.size(1), .width = cotangent.size(2)};
  }
  return {.channels = cotangent.size(1), .height = cotangent.size(2), .width = cotangent.size(3)};
}

void add_cotangents(const BackpropagateArguments& arguments, Tape& tape) {
  require(!arguments.cotangents.empty(),
          "cotangents is empty; at least one gradient must be known");
  require(arguments.cotangents.size() <= tape.values.size(), "cotangents has ",
          arguments.cotangents.size(), " gradients for ", tape.values.size(), " values");
  tape.samples = arguments.cotangents[0].dim() == 4 ? arguments.cotangents[0].size(0) : 0;
  for (std::size_t i = 0; i < arguments.cotangents.size(); ++i) {
    const Tensor& cotangent = arguments.cotangents[i];
    const bool packed = cotangent.scalar_type() == ScalarType::Byte;
    packed ? require_packed(i, cotangent)
           : require_float_nhwc("a tensor of cotangents", cotangent, "[N, C, H, W]", kOtherwise);
    require_beside_planes("a tensor of cotangents", cotangent, arguments.planes);
    require(size_of_cotangent(cotangent) == tape.values[i] && cotangent.size(0) == tape.samples,
            "cotangents[", i, "] does not have ", tape.samples, " samples of the size of values[",
            i, "]");
    const void* data = cotangent.const_data_ptr();
    tape.cotangents.push_back({.data = packed ? nullptr : static_cast<const float*>(data),
                               .signs = packed ? static_cast<const uint8_t*>(data) : nullptr});
  }
}

void check_masks(const BackpropagateArguments& arguments, Tape& tape) {
  tape.mask_samples = arguments.masks.empty() ? 1 : arguments.masks[0].size(0);
  for (std::size_t i = 0; i < arguments.masks.size(); ++i) {
    const Tensor& mask = arguments.masks[i];
    require(mask.dim() == 4 && mask.is_contiguous() && mask.scalar_type() == ScalarType::Byte,
            "masks[", i, "] must be a contiguous uint8 tensor [M, H, W, C / 8]");
    require_beside_planes("a tensor of masks", mask, arguments.planes);
    require(mask.size(0) == tape.mask_samples, "masks[", i, "] has ", mask.size(0),
            " samples but masks[0] has ", tape.mask_samples);
  }
  require(tape.mask_samples > 0 && tape.samples % tape.mask_samples == 0, "masks have ",
          tape.mask_samples, " samples and cotangents ", tape.samples,
          "; the latter must be a multiple of the former");
}

void add_norms(const BackpropagateArguments& arguments, Tape& tape) {
  const std::size_t count = arguments.norm_inputs.size();
  require(arguments.norm_statistics.size() == count && arguments.norm_weights.size() == count,
          "norm_inputs has ", count, " tensors, norm_statistics ", arguments.norm_statistics.size(),
          " and norm_weights ", arguments.norm_weights.size(), "; they belong together");
  for (std::size_t i = 0; i < count; ++i) {
    const Tensor& x = arguments.norm_inputs[i];
    const batch_norm::Size size = checked_norm_size(x);
    require(size.samples == tape.samples, "norm_inputs[", i, "] has ", size.samples,
            " samples and cotangents ", tape.samples, "; BatchNorm's gradient takes all of them");
    tape.norms.push_back(
        {.x = static_cast<const float*>(x.const_data_ptr()),
         .statistics = checked_statistics(arguments.norm_statistics[i], size.channels),
         .weight = checked_by_channel("a tensor of norm_weights", arguments.norm_weights[i],
                                      size.channels)});
  }
}

bool is_convolution(Layer layer) {
  return layer == Layer::kConv3x3 || layer == Layer::kConv1x1 || layer == Layer::kStridedConv ||
         layer == Layer::kDepthwiseConv;
}

// A row of `terms` in words, for error messages.
struct Place {
  int64_t row;
  const Value& from;
  const Value& to;
  const Tensor& planes;
};

void require_numbers(const Place& place, const Tensor& weights, int64_t dim, const char* shape) {
  require_float("a tensor of weights", weights, dim, shape, kOtherwise);
  require_beside_planes("a tensor of weights", weights, place.planes);
}

void require_weights(const Place& place, const Tensor& weights, const std::vector<int64_t>& shape) {
  require_numbers(place, weights, static_cast<int64_t>(shape.size()), "see backpropagate_");
  bool fits = weights.is_contiguous();
  for (std::size_t i = 0; i < shape.size(); ++i) {
    fits = fits && weights.size(static_cast<int64_t>(i)) == shape[i];
  }
  require(fits && place.from.channels % kChannelMultiple == 0 &&
              place.to.channels % kChannelMultiple == 0,
          "terms[", place.row, "] has weights that do not take ", place.from.channels,
          " channels to ", place.to.channels, ", or are not contiguous; both must be multiples of ",
          kChannelMultiple);
}

// Transformed on the CPU, as they are elsewhere.
void require_conv3x3_weights(const Place& place, const Tensor& weights) {
  const int64_t from = place.from.channels;
  const int64_t to = place.to.channels;
  place.planes.is_cpu() ? require_weights(place, weights, {winograd::kPositions, to, from})
                        : require_weights(place, weights, {from, 3, 3, to});
}

void require_same_pixels(const Place& place) {
  require(place.from.height == place.to.height && place.from.width == place.to.width, "terms[",
          place.row, "] leads from ", place.from.height, " x ", place.from.width, " to ",
          place.to.height, " x ", place.to.width, " pixels; its layer keeps their number");
}

void require_strided_sizes(const Place& place, const Term& term) {
  const auto [rows, columns] = strided_axes(place.from, place.to, term);
  require(rows.is_consistent() && columns.is_consistent(), "terms[", place.row, "] leads from ",
          place.from.height, " x ", place.from.width, " to ", place.to.height, " x ",
          place.to.width, " pixels, which its kernel, stride and padding do not");
}

void require_strided(const Place& place, const Tensor& weights, Term& term) {
  require_numbers(place, weights, 4, "[Kh, Kw, Co, Ci]");
  term.kernel_height = weights.size(0);
  term.kernel_width = weights.size(1);
  require_weights(place, weights,
                  {term.kernel_height, term.kernel_width, place.from.channels, place.to.channels});
  require_strided_sizes(place, term);
}

void require_depthwise(const Place& place, const Tensor& weights, Term& term) {
  require_numbers(place, weights, 3, "[Kh, Kw, C]");
  term.kernel_height = weights.size(0);
  term.kernel_width = weights.size(1);
  require(place.from.channels == place.to.channels, "terms[", place.row, "] leads from ",
          place.from.channels, " to ", place.to.channels,
          " channels; a depthwise convolution keeps their number");
  require_weights(place, weights, {term.kernel_height, term.kernel_width, place.to.channels});
  require_strided_sizes(place, term);
}

void require_mean_pool(const Place& place, const Term& term) {
  require(term.stride >= 1 && place.from.height == place.to.height / term.stride &&
              place.from.width == place.to.width / term.stride,
          "terms[", place.row, "] takes means over ", term.stride, " x ", term.stride,
          " pixels, but leads from ", place.from.height, " x ", place.from.width, " to ",
          place.to.height, " x ", place.to.width);
}

// Checks a term's sizes and weights against its layer; sets the kernel's size.
void require_layer(const Place& place, const Tensor* weights, Term& term) {
  const bool convolves = is_convolution(term.layer);
  const bool weighted = convolves || term.layer == Layer::kScale;
  require(weighted == (weights != nullptr), "terms[", place.row, "] ",
          weighted ? "needs weights" : "has weights, which its layer does not take");
  require(convolves || place.from.channels == place.to.channels, "terms[", place.row,
          "] leads from ", place.from.channels, " to ", place.to.channels,
          " channels; only convolutions change their number");
  switch (term.layer) {
    case Layer::kIdentity:
    case Layer::kAvgPool3x3:
      return require_same_pixels(place);
    case Layer::kConv3x3:
      require_same_pixels(place);
      return require_conv3x3_weights(place, *weights);
    case Layer::kConv1x1:
      require_same_pixels(place);
      return require_weights(place, *weights, {place.from.channels, place.to.channels, 1, 1});
    case Layer::kStridedConv:
      return require_strided(place, *weights, term);
    case Layer::kDepthwiseConv:
      return require_depthwise(place, *weights, term);
    case Layer::kMeanPool:
      return require_mean_pool(place, term);
    case Layer::kScale:
      require_same_pixels(place);
      require_numbers(place, *weights, 1, "[1]");
      return require(weights->numel() == 1, "terms[", place.row, "] scales by ", weights->numel(),
                     " numbers, not one");
  }
  refuse("terms[", place.row, "] names layer ", static_cast<int64_t>(term.layer), " of 0 to 7");
}

const uint8_t* checked_mask(const BackpropagateArguments& arguments, const Place& place,
                            int64_t index, const Term& term) {
  if (index == -1) {
    return nullptr;
  }
  require(index >= 0 && index < static_cast<int64_t>(arguments.masks.size()), "terms[", place.row,
          "] names mask ", index, " of ", arguments.masks.size());
  require(is_convolution(term.layer) ||
              (term.layer == Layer::kIdentity && place.to.channels % kChannelMultiple == 0),
          "terms[", place.row,
          "] has a mask, which only convolutions take, and sums of maps whose channels are a "
          "multiple of ",
          kChannelMultiple);
  const Tensor& mask = arguments.masks[index];
  require(mask.size(1) == place.to.height && mask.size(2) == place.to.width &&
              mask.size(3) == place.to.channels / 8,
          "terms[", place.row, "] has a mask of another size than its destination");
  return static_cast<const uint8_t*>(mask.const_data_ptr());
}

void check_norm(const BackpropagateArguments& arguments, const Place& place, int64_t index) {
  if (index == tape::kNone) {
    return;
  }
  require(index >= 0 && index < static_cast<int64_t>(arguments.norm_inputs.size()), "terms[",
          place.row, "] names norm ", index, " of ", arguments.norm_inputs.size());
  const Tensor& x = arguments.norm_inputs[index];
  require(Value{x.size(1), x.size(2), x.size(3)} == place.from, "terms[", place.row,
          "] has a norm of another size than its source");
}

Term checked_term(const BackpropagateArguments& arguments, const Tape& tape, int64_t number,
                  const int64_t* row) {
  const int64_t values = static_cast<int64_t>(tape.values.size());
  const int64_t previous = tape.terms.empty() ? static_cast<int64_t>(tape.cotangents.size()) - 1
                                              : tape.terms.back().destination;
  Term term{.layer = static_cast<Layer>(row[0]),
            .source = row[1],
            .destination = row[2],
            .weights = nullptr,
            .mask = nullptr,
            .kernel_height = 0,
            .kernel_width = 0,
            .stride = row[5],
            .padding = row[6],
            .norm = row[7]};
  require(term.destination < values && (term.destination == previous + 1 ||
                                        (term.destination == previous && !tape.terms.empty())),
          "terms[", number, "] leads to value ", term.destination, " after ", previous,
          "; every value but the cotangents has its terms, in ascending order");
  require(term.source >= 0 && term.source < term.destination, "terms[", number,
          "] leads from value ", term.source, " to ", term.destination,
          "; sources have lower numbers");
  const Place place{number, tape.values[term.source], tape.values[term.destination],
                    arguments.planes};
  require(row[3] >= -1 && row[3] < static_cast<int64_t>(arguments.weights.size()), "terms[", number,
          "] names weights ", row[3], " of ", arguments.weights.size());
  const Tensor* weights = row[3] < 0 ? nullptr : &arguments.weights[row[3]];
  require_layer(place, weights, term);
  term.weights =
      weights == nullptr ? nullptr : static_cast<const float*>(weights->const_data_ptr());
  term.mask = checked_mask(arguments, place, row[4], term);
  check_norm(arguments, place, term.norm);
  return term;
}

void add_terms(const BackpropagateArguments& arguments, Tape& tape) {
  const int64_t* row = checked_table("terms", arguments.terms, 8);
  for (int64_t i = 0; i < arguments.terms.size(0); ++i, row += 8) {
    tape.terms.push_back(checked_term(arguments, tape, i, row));
  }
  const std::size_t computed = tape.terms.empty()
                                   ? tape.cotangents.size()
                                   : static_cast<std::size_t>(tape.terms.back().destination) + 1;
  require(computed == tape.values.size(), "terms lead to ", computed, " of ", tape.values.size(),
          " values; every value but the cotangents has its terms");
}

void add_readings(const BackpropagateArguments& arguments, Tape& tape) {
  const Tensor& planes = arguments.planes;
  require_float("planes", planes, 1, "flat", kOtherwise);
  require(planes.is_contiguous(), "planes is not contiguous");
  float* data = static_cast<float*>(planes.mutable_data_ptr());
  const int64_t* row = checked_table("readings", arguments.readings, 4);
  for (int64_t i = 0; i < arguments.readings.size(0); ++i, row += 4) {
    const int64_t previous = tape.readings.empty() ? 0 : tape.readings.back().value;
    require(row[0] >= previous && row[0] < static_cast<int64_t>(tape.values.size()), "readings[", i,
            "] names value ", row[0], " of ", tape.values.size(), " after ", previous);
    require(row[0] >= static_cast<int64_t>(tape.cotangents.size()) ||
                tape.cotangents[row[0]].signs == nullptr,
            "readings[", i, "] reads cotangent ", row[0], ", which are signs");
    const Value& value = tape.values[row[0]];
    require(row[1] >= 0 && row[1] < value.channels, "readings[", i, "] names channel ", row[1],
            " of ", value.channels);
    const int64_t last = row[2] + (tape.samples - 1) * row[3] + value.pixels();
    require(
        tape.samples == 0 || (row[2] >= 0 && row[3] >= value.pixels() && last <= planes.numel()),
        "readings[", i, "] leaves planes, which has ", planes.numel(), " numbers");
    tape.readings.push_back(
        {.value = row[0], .channel = row[1], .planes = data + row[2], .sample_stride = row[3]});
  }
}

void require_product(int64_t row, const Value& wide, const Value& narrow) {
  const int64_t times = wide.height / narrow.height;
  require(times > 0 && wide.height == times * narrow.height && wide.width == times * narrow.width,
          "products[", row, "] multiplies ", wide.height, " x ", wide.width, " pixels with ",
          narrow.height, " x ", narrow.width,
          "; the former must be the latter's sides times one whole number");
  require(wide.channels % map_products::kChannelMultiple == 0 &&
              narrow.channels % map_products::kChannelMultiple == 0,
          "products[", row, "] multiplies ", wide.channels, " channels with ", narrow.channels,
          "; both must be multiples of ", map_products::kChannelMultiple);
}

void add_products(const BackpropagateArguments& arguments, Tape& tape) {
  const Tensor& matrices = arguments.matrices;
  require(matrices.dim() == 1 && matrices.is_cpu() && matrices.is_contiguous() &&
              matrices.scalar_type() == ScalarType::Double,
          "matrices must be a flat float64 CPU tensor");
  double* data = static_cast<double*>(matrices.mutable_data_ptr());
  const int64_t* row = checked_table("products", arguments.products, 3);
  for (int64_t i = 0; i < arguments.products.size(0); ++i, row += 3) {
    const int64_t cotangents = static_cast<int64_t>(tape.cotangents.size());
    require(row[0] >= cotangents && row[0] < static_cast<int64_t>(tape.values.size()) &&
                row[1] >= 0 && row[1] < cotangents,
            "products[", i, "] multiplies value ", row[0], " with cotangent ", row[1],
            "; cotangents are the ", "values below ", cotangents, " of ", tape.values.size(),
            ", and have no terms");
    require_product(i, tape.values[row[0]], tape.values[row[1]]);
    const tape::Product product{.value = row[0], .cotangent = row[1], .sums = data + row[2]};
    const int64_t size = tape::maps_of(tape, product, nullptr, nullptr).size() + 1;
    require(row[2] >= 0 && row[2] + size <= matrices.numel(), "products[", i,
            "] leaves matrices, which has ", matrices.numel(), " numbers");
    tape.products.push_back(product);
  }
}

}  // namespace

Tape checked_tape(const BackpropagateArguments& arguments) {
  Tape tape{};
  add_values(arguments, tape);
  add_cotangents(arguments, tape);
  check_masks(arguments, tape);
  add_norms(arguments, tape);
  add_terms(arguments, tape);
  add_readings(arguments, tape);
  add_products(arguments, tape);
  return tape;
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def(
      "backpropagate_(Tensor(a!) planes, Tensor[] cotangents, Tensor[] weights, Tensor[] masks, "
      "Tensor[] norm_inputs, Tensor[] norm_statistics, Tensor[] norm_weights, Tensor values, "
      "Tensor terms, Tensor readings, Tensor(b!) matrices, Tensor products) -> ()");
}

}  // namespace vkdnw
