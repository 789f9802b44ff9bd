// Marks small functions that CPU and CUDA kernels share.
#pragma once

#ifdef __CUDACC__
#define VKDNW_HD __host__ __device__
#else
#define VKDNW_HD
#endif
