"""The AutoFormer spaces (Chen et al. 2021): vision transformers of three sizes."""

from vkdnw.search.spaces.autoformer.space import (
    AutoFormer,
    AutoFormerB,
    AutoFormerS,
    AutoFormerT,
)

__all__ = ["AutoFormer", "AutoFormerB", "AutoFormerS", "AutoFormerT"]
