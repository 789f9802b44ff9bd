"""From a run to the network to export."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vkdnw.search.configuration import Json
from vkdnw.search.errors import StoreError
from vkdnw.search.evolution import history
from vkdnw.search.export.formats import ExportError
from vkdnw.search.rankings.best import rank
from vkdnw.search.spaces.mobilenetv2.space import MobileNetV2
from vkdnw.search.spaces.nb201.space import NB201
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.state.results import open_results

if TYPE_CHECKING:
    from torch import nn

SPACES: Mapping[str, type[Any]] = {space.name: space for space in (NB201, MobileNetV2)}


def best(run: Path, by: str = "single") -> str:
    """The best architecture: by its aggregate in a search, by a value's mean in a listed run.

    Raises StoreError where there is none, ValueError where no value is called `by`.
    """
    with open_results(run) as results:
        settings, evaluations = results.configuration(), results.evaluations()
    if not evaluations:
        raise StoreError(f"{run} has no scores yet")
    return (
        history.load(run).best()
        if "strategy" in settings
        else rank(evaluations, by)[0].architecture
    )


def space_of(run: Path) -> SearchSpace:
    """The space of a run, at the sizes at which its networks were scored.

    Raises ExportError for a space that is not this package's.
    """
    with open_results(run) as results:
        settings = results.configuration()
    name = str(settings.get("space"))
    if name not in SPACES:
        raise ExportError(
            f"{run} is a run of the space {name!r}, which this command cannot build; its own "
            f"build() can (known here are {', '.join(SPACES)})"
        )
    space: SearchSpace = SPACES[name](**_sizes(SPACES[name], settings))
    return space


def _sizes(space: type[Any], settings: Mapping[str, Json]) -> dict[str, Json]:
    return {f.name: settings[f.name] for f in fields(space) if f.name in settings}


def network(
    space: SearchSpace,
    architecture: str,
    classes: int | None = None,
    squeeze_excitation: bool | None = None,
) -> "nn.Module":
    """The network to train: with the target's number of classes, or with another.

    Raises ArchitectureError, and ExportError for squeeze-and-excitation in a space without.
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
    return sized.build(architecture)
