#include "kernels/cuda/relu_mask.h"
