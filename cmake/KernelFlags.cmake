# vkdnw_kernel_flags: how the CPU kernels are compiled, in the library and in its unit tests alike.
#
# No -ffast-math: a NaN must propagate. The flags below change no value of a finite computation
# except by contracting a*b+c.
#
# Sets VKDNW_CPU_FEATURES: the instruction sets the compiler may use, by the names that Linux gives
# them in /proc/cpuinfo. vkdnw/ops/library.py compares them with the CPU before loading the library.

include(CheckCXXCompilerFlag)

string(MAKE_C_IDENTIFIER "VKDNW_KNOWS_ARCH_${VKDNW_NATIVE_ARCH}" arch_known)
check_cxx_compiler_flag("-march=${VKDNW_NATIVE_ARCH}" ${arch_known})
if(NOT ${arch_known})
  message(FATAL_ERROR
    "VKDNW_NATIVE_ARCH=${VKDNW_NATIVE_ARCH}: ${CMAKE_CXX_COMPILER} takes no "
    "-march=${VKDNW_NATIVE_ARCH}. Give native, or a name it knows, such as x86-64-v3.")
endif()

add_library(vkdnw_kernel_flags INTERFACE)
target_include_directories(vkdnw_kernel_flags INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/csrc)
set(VKDNW_KERNEL_FLAGS
  -march=${VKDNW_NATIVE_ARCH} -fno-math-errno -ffp-contract=fast -fopenmp-simd)
target_compile_options(vkdnw_kernel_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:${VKDNW_KERNEL_FLAGS} -Wall -Wextra -Wno-psabi>) # vectors stay inside

# Constants of the standard library (numeric_limits) in device code.
target_compile_options(vkdnw_kernel_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>)

# A message of an error names a file of this project, not a path of the machine that built it.
add_compile_options(
  $<$<COMPILE_LANGUAGE:CXX>:-ffile-prefix-map=${CMAKE_CURRENT_SOURCE_DIR}/=>)

# Compiler macro -> flag in /proc/cpuinfo, where they differ by more than case (x86).
set(cpuinfo_SSE3 pni)
set(cpuinfo_BMI bmi1)
set(cpuinfo_LZCNT abm)
set(cpuinfo_PCLMUL pclmulqdq)
set(cpuinfo_RDRND rdrand)
set(cpuinfo_SHA sha_ni)
set(cpuinfo_AVXVNNI avx_vnni)
set(cpuinfo_AVX512VBMI2 avx512_vbmi2)
set(cpuinfo_AVX512VNNI avx512_vnni)
set(cpuinfo_AVX512BITALG avx512_bitalg)
set(cpuinfo_AVX512VPOPCNTDQ avx512_vpopcntdq)
set(cpuinfo_AVX512BF16 avx512_bf16)
set(cpuinfo_AVX512FP16 avx512_fp16)

# The sets that a compiler uses on its own for arithmetic and bit counting.
set(macros
  SSE SSE2 SSE3 SSSE3 SSE4_1 SSE4_2 POPCNT AVX AVX2 FMA F16C BMI BMI2 LZCNT MOVBE GFNI AVXVNNI
  AVX512F AVX512CD AVX512BW AVX512DQ AVX512VL AVX512IFMA AVX512VBMI AVX512VBMI2 AVX512VNNI
  AVX512BITALG AVX512VPOPCNTDQ AVX512BF16 AVX512FP16)

execute_process(
  COMMAND ${CMAKE_CXX_COMPILER} -march=${VKDNW_NATIVE_ARCH} -dM -E -x c++ /dev/null
  OUTPUT_VARIABLE defined_macros COMMAND_ERROR_IS_FATAL ANY)
set(VKDNW_CPU_FEATURES "")
foreach(macro IN LISTS macros)
  if(defined_macros MATCHES "#define __${macro}__ 1")
    string(TOLOWER ${macro} flag)
    if(DEFINED cpuinfo_${macro})
      set(flag ${cpuinfo_${macro}})
    endif()
    string(APPEND VKDNW_CPU_FEATURES "${flag} ")
  endif()
endforeach()
string(STRIP "${VKDNW_CPU_FEATURES}" VKDNW_CPU_FEATURES)
