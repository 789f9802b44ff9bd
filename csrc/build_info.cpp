// The facts of this build, as a Python module. `vkdnw doctor` prints them, and they are compared
// with the machine before the ops are loaded. Holds no code for a particular CPU and needs no
// torch.
#include "build_info.h"

#include <pybind11/pybind11.h>

PYBIND11_MODULE(_build_info, module) {
  module.doc() = "How the native library of vkdnw was built.";
  module.attr("version") = VKDNW_VERSION;
  module.attr("compiler") = VKDNW_COMPILER;
  module.attr("cxx_flags") = VKDNW_CXX_FLAGS;
  module.attr("native_arch") = VKDNW_NATIVE_ARCH;
  module.attr("cpu_features") = pybind11::str(VKDNW_CPU_FEATURES).attr("split")();
  module.attr("torch_version") = VKDNW_TORCH_VERSION;
  module.attr("torch_target") = VKDNW_TORCH_TARGET;
  module.attr("torch_cuda") = VKDNW_TORCH_CUDA;
  module.attr("cuda_mode") = VKDNW_CUDA_MODE;
  module.attr("cuda_reason") = VKDNW_CUDA_REASON;
  module.attr("cuda_compiler") = VKDNW_CUDA_COMPILER;
  module.attr("cuda_archs") = pybind11::str(VKDNW_CUDA_ARCHS).attr("split")();
  module.attr("python") = PY_VERSION;
  module.attr("pybind11") = PYBIND11_TOSTRING(PYBIND11_VERSION_MAJOR) "." PYBIND11_TOSTRING(
      PYBIND11_VERSION_MINOR) "." PYBIND11_TOSTRING(PYBIND11_VERSION_MICRO);
}
