#include "ops/fisher_accumulate.h"

#include <torch/csrc/stable/library.h>

#include <cmath>

#include "ops/check.h"

namespace vkdnw {

using torch::headeronly::ScalarType;

void require_fisher(const Tensor& fisher, const FactorArguments& arguments, double scale) {
  const int64_t columns = arguments.columns();
  require(fisher.dim() == 2 && fisher.size(0) == columns && fisher.size(1) == columns,
          "fisher must have shape [", columns, ", ", columns, "] for a jacobian of ", columns,
          " columns");
  require(fisher.scalar_type() == ScalarType::Double || fisher.scalar_type() == ScalarType::Float,
          "fisher is ", torch::headeronly::toString(fisher.scalar_type()),
          "; it must be float64 or float32");
  require(fisher.is_contiguous(), "fisher must be contiguous");
  require(fisher.device() == arguments.jacobian.device(),
          "fisher and jacobian are on different devices");
  require(std::isfinite(scale), "scale is ", scale, "; it must be finite");
}

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def(
      "fisher_accumulate_(Tensor(a!) fisher, Tensor jacobian, Tensor probabilities, "
      "bool released, float scale) -> ()");
}

}  // namespace vkdnw
