"""A network that a run has found: its architecture, its values, and the module itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vkdnw.search.spaces.search_space import Cost, SearchSpace

if TYPE_CHECKING:
    from torch import nn

    from vkdnw.search.export.formats import Format


@dataclass(frozen=True)
class Network:
    """A network of a space."""

    architecture: str
    space: SearchSpace = field(repr=False)
    values: Mapping[str, float]
    """Means over seeds of the values on record; empty for a network that was not scored."""
    by: str | None = None
    """The value or aggregate by which it is the best."""

    def build(
        self, classes: int | None = None, *, init: str | None = None, seed: int = 0
    ) -> "nn.Module":
        """The module to train, in train mode.

        Args:
            classes: of its head; None for those it was searched for.
            init: `kaiming_normal` draws the weights as the scores had them; None leaves the
                constructor's.
            seed: of the weights that are drawn, by either.
        """
        import torch

        import vkdnw
        from vkdnw.search.export import network_to_export

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = network_to_export.network(self.space, self.architecture, classes)
        if init is not None:
            vkdnw.initialise(model, init, seed=seed)
        return model

    def cost(self) -> Cost:
        """Layers, FLOPs and parameters, told from the string."""
        return self.space.cost(self.architecture)

    def describe(self) -> str:
        """The architecture for people."""
        return self.space.describe(self.architecture)

    def export(self, path: str | Path, form: "Format | None" = None, **options: int) -> Path:
        """Write it as a file that needs no part of this package; checked in a fresh process.

        Args:
            path: ends in `.py`, `.onnx`, or `.pt` or `.torchscript`, unless `form` is given.
            form: `py`, `onnx` or `torchscript`.
            **options: `classes` of the head, `seed` of the weights.
        """
        from vkdnw.search.export.formats import form_of
        from vkdnw.search.export.write import write

        path = Path(path)
        model = self.build(
            options.get("classes"), init="kaiming_normal", seed=options.get("seed", 0)
        )
        side = int(getattr(self.space, "target_resolution", self.space.resolution))
        title = f"{self.architecture}\n\nA network of the space {self.space.name}."
        write(model, path, form or form_of(path), side, title=title)
        return path
