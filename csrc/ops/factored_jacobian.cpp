#include "ops/factored_jacobian.h"

#include "ops/check.h"

namespace vkdnw {

using torch::headeronly::ScalarType;

FactorArguments checked_factor_arguments(const Tensor& jacobian, const Tensor& probabilities,
                                         bool released) {
  require(probabilities.dim() == 2 && probabilities.scalar_type() == ScalarType::Double &&
              probabilities.is_contiguous(),
          "probabilities must be a contiguous float64 tensor of shape [B, C]");
  const int64_t classes = probabilities.size(1);
  require(classes >= 2, "probabilities has ", classes, " classes; at least 2 are needed");
  require(jacobian.dim() == 3, "jacobian has ", jacobian.dim(),
          " dimensions, not 3: [B, C - 1, P]");
  require(jacobian.size(0) == probabilities.size(0), "jacobian has ", jacobian.size(0),
          " samples but probabilities has ", probabilities.size(0));
  require(jacobian.size(1) == classes - 1, "jacobian has ", jacobian.size(1), " rows for ", classes,
          " classes, not ", classes - 1,
          "; give the rows J_j - J_{C-1} (j < C - 1), or with released the first C - 1 rows of J");
  require(
      jacobian.scalar_type() == ScalarType::Double || jacobian.scalar_type() == ScalarType::Float,
      "jacobian is ", torch::headeronly::toString(jacobian.scalar_type()),
      "; it must be float64 or float32");
  require(jacobian.size(2) <= 1 || jacobian.stride(2) == 1, "jacobian has stride ",
          jacobian.stride(2), " along its columns; make them contiguous");
  require(jacobian.device() == probabilities.device(),
          "jacobian and probabilities are on different devices");
  return {jacobian, probabilities, released ? Convention::kReleased : Convention::kFisher};
}

}  // namespace vkdnw
