#include "ops/channels_last.h"

#include "ops/check.h"

namespace vkdnw {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

bool is_channels_last(const Tensor& tensor) {
  const auto sizes = tensor.sizes();
  const auto strides = tensor.strides();
  int64_t expected = 1;
  for (const int dim : {1, 3, 2, 0}) {
    if (sizes[dim] != 1 && strides[dim] != expected) {
      return false;
    }
    expected *= sizes[dim];
  }
  return true;
}

}  // namespace

void require_float(const char* name, const Tensor& tensor, int64_t dim, const char* shape,
                   const char* otherwise) {
  require(tensor.dim() == dim, name, " has ", tensor.dim(), " dimensions, not ", dim, ": ", shape);
  require(tensor.scalar_type() == ScalarType::Float, name, " is ",
          torch::headeronly::toString(tensor.scalar_type()), ", not float32; convert it, or use ",
          otherwise);
}

void require_float_on_cpu(const char* name, const Tensor& tensor, int64_t dim, const char* shape,
                          const char* otherwise) {
  require_float(name, tensor, dim, shape, otherwise);
  require(tensor.is_cpu(), name, " is not on the CPU; there, use ", otherwise);
}

void require_float_nhwc(const char* name, const Tensor& tensor, const char* shape,
                        const char* otherwise) {
  require_float(name, tensor, 4, shape, otherwise);
  require(tensor.numel() == 0 || is_channels_last(tensor), name, " is not channels_last; call ",
          name, ".contiguous(memory_format=torch.channels_last)");
}

void require_channels_last(const char* name, const Tensor& tensor, const char* shape,
                           const char* otherwise) {
  require_float_on_cpu(name, tensor, 4, shape, otherwise);
  require_float_nhwc(name, tensor, shape, otherwise);
}

}  // namespace vkdnw
