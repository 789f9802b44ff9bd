"""The MnasNet space of Accel-NASBench (Ahmad et al. 2024): ImageNet accuracies and latencies."""

from vkdnw.search.spaces.mnasnet.space import MnasNet

__all__ = ["MnasNet"]
