"""NAS-Bench-Macro (Su et al. 2021, MCT-NAS): 6,561 networks of eight layers on CIFAR-10."""

from vkdnw.search.spaces.nb_macro.space import NBMacro

__all__ = ["NBMacro"]
