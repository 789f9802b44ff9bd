#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(vkdnw, m) {
  m.def("fisher_factor(Tensor jacobian, Tensor probabilities, bool released) -> Tensor");
}
