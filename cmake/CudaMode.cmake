set(VKDNW_CUDA_ENABLED OFF)
set(VKDNW_CUDA_REASON "not decided yet")
