#include "kernels/cuda/tape_backward.h"
