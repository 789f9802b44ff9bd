"""Models by name: an architecture of timm, or whatever a function of one's own builds."""

import importlib
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

TIMM = "timm:"
FORMS = "timm:NAME or package.module:factory"


@dataclass(frozen=True)
class Source:
    """Where a model comes from. Raises ValueError for a text of another form."""

    text: str

    def __post_init__(self) -> None:
        place, colon, name = self.text.partition(":")
        if not (place and colon and name):
            raise ValueError(f"a model is named as {FORMS}, not {self.text!r}")

    def build(self, classes: int, seed: int, weights: Path | None = None) -> nn.Module:
        """The model in eval mode, with the weights that its constructor draws, or with a file's.

        Args:
            classes: of the head, for timm; a factory decides on its own.
            seed: of the constructor's draws; the global generator is left as it was.
            weights: a state dict that `torch.save` wrote, or a .safetensors file.

        Raises:
            ImportError, AttributeError: there is no such package, module or factory.
            ValueError: what the factory gives is no model; and whatever a constructor raises.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self._timm(classes) if self.text.startswith(TIMM) else self._factory()
        if weights is not None:
            model.load_state_dict(_read(weights))
        return model.eval()

    def _timm(self, classes: int) -> nn.Module:
        try:
            import timm
        except ImportError as error:
            raise ImportError(
                f"{self.text} needs timm ({error}); install it with: pip install timm"
            ) from error
        model: nn.Module = timm.create_model(
            self.text.removeprefix(TIMM), pretrained=False, num_classes=classes
        )
        return model

    def _factory(self) -> nn.Module:
        module, _, name = self.text.partition(":")
        here = str(Path.cwd())
        if here not in sys.path:  # a console command has not the folder that it is called in
            sys.path.append(here)
        factory = getattr(importlib.import_module(module), name)
        required = [
            parameter.name
            for parameter in inspect.signature(factory).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        if required:
            raise ValueError(
                f"{self.text} needs arguments ({', '.join(required)}); name a function without, "
                "such as a functools.partial in a module of your own"
            )
        model = factory()
        if not isinstance(model, nn.Module):
            raise ValueError(f"{self.text} gives a {type(model).__name__}, not a torch.nn.Module")
        return model


def input_shape(model: nn.Module, resolution: int | None) -> tuple[int, int, int]:
    """Channels, height and width of a model's images: those that timm tells of it, else 3 x 224 x
    224; ``resolution`` takes the place of both sides."""
    told = getattr(model, "pretrained_cfg", None) or {}
    channels, height, width = told.get("input_size", (3, 224, 224))
    if resolution is not None:
        height = width = resolution
    return channels, height, width


def _read(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state: dict[str, torch.Tensor] = load_file(path)
        return state
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(loaded, dict):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, not a state dict")
    return dict(loaded)
