"""From a space and an architecture to the network to export."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vkdnw.search import limits
from vkdnw.search.export.formats import ExportError
from vkdnw.search.spaces.search_space import SearchSpace

if TYPE_CHECKING:
    from torch import nn


def network(
    space: SearchSpace,
    architecture: str,
    classes: int | None = None,
    squeeze_excitation: bool | None = None,
) -> "nn.Module":
    """The network to train: with the target's number of classes, or with another.

    Raises ArchitectureError, LimitExceeded for one that is too large, and ExportError for
    squeeze-and-excitation in a space without.
    """
    changes: dict[str, Any] = {}
    wanted = classes if classes is not None else getattr(space, "target_classes", None)
    if wanted is not None:
        changes["classes"] = wanted
    if squeeze_excitation is not None:
        if not hasattr(space, "squeeze_excitation"):
            raise ExportError(f"networks of {space.name} have no squeeze-and-excitation to add")
        changes["squeeze_excitation"] = squeeze_excitation
    sized: SearchSpace = replace(space, **changes)  # type: ignore[type-var]
    limits.check_network(sized.cost(architecture), architecture)
    return sized.build(architecture)
