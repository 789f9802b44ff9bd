"""Models by name: of timm, torchvision or transformers, or whatever a function of one's own builds.

Nothing is downloaded: weights are those that constructors draw, or a file's.
"""

import importlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vkdnw.search.did_you_mean import meant
from vkdnw.search.models import transformers_models
from vkdnw.search.models.checkpoint_file import load_weights

FORMS = "timm:NAME, torchvision:NAME, hf:MODEL or package.module:factory"
IMAGE = (3, 224, 224)
"""Of a model that says nothing of its input."""


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
            classes: of the head, for models of a library; a factory decides on its own.
            seed: of the constructor's draws; the global generator is left as it was.
            weights: a state dict that `torch.save` wrote, or a .safetensors file.

        Raises:
            ImportError, AttributeError: there is no such package, module or factory.
            ValueError: the factory returns no model; and whatever a constructor raises.
        """
        library, _, name = self.text.partition(":")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            match library:
                case "timm":
                    model = _timm(name, classes)
                case "torchvision":
                    model = _torchvision(name, classes)
                case "hf":
                    model = transformers_models.build(name, classes)
                case _:
                    model = self._factory()
        if weights is not None:
            load_weights(model, weights)
        return model.eval()

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


def _timm(name: str, classes: int) -> nn.Module:
    timm = _library("timm", f"timm:{name}")
    if not timm.is_model(name):
        raise ValueError(f"timm has no model {name!r}{meant(name, timm.list_models(), 3)}")
    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    return model


def _torchvision(name: str, classes: int) -> nn.Module:
    models = _library("torchvision", f"torchvision:{name}").models
    if name not in models.list_models():
        raise ValueError(f"torchvision has no model {name!r}{meant(name, models.list_models(), 3)}")
    model: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    return model


def _library(name: str, asked: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{asked} needs {name} ({error}); install it with: pip install {name}"
        ) from error


def input_shape(model: nn.Module, resolution: int | None) -> tuple[int, int, int]:
    """Channels, height and width of a model's images: those that its library tells of it, else 3 x
    224 x 224; ``resolution`` takes the place of both sides."""
    told = getattr(model, "pretrained_cfg", None) or {}
    shape = told.get("input_size") or transformers_models.image_shape(model) or IMAGE
    channels, height, width = shape
    if resolution is not None:
        height = width = resolution
    return channels, height, width


def noise(
    model: nn.Module, batch_size: int, resolution: int | None, seed: int
) -> Tensor | Mapping[str, Tensor]:
    """Standard normal images for a model; for a model of texts, tokens drawn uniformly."""
    generator = torch.Generator().manual_seed(seed)
    if transformers_models.reads_tokens(model):
        return transformers_models.tokens(model, batch_size, generator)
    return torch.randn(batch_size, *input_shape(model, resolution), generator=generator)
