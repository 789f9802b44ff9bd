"""The PiT space of Auto-Prox (Wei et al. 2024): transformers with pooling (Heo et al. 2021)."""

from vkdnw.search.spaces.pit.space import PiT

__all__ = ["PiT"]
