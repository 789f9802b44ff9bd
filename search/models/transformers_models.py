"""Models of the transformers library, from a configuration alone: nothing is downloaded.

`hf:vit` is the library's configuration of that type with its defaults,
`hf:vit?hidden_size=192,num_hidden_layers=6` changes some of it, and `hf:path/to/folder` reads the
config.json of a folder. The head is one for images where the library has such for the type, else
one for texts.
"""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vkdnw.search.did_you_mean import meant

TOKENS = 32
"""In a text, or as many as the model takes at most."""


class Logits(nn.Module):
    """A model of the library that returns its logits alone."""

    def __init__(self, model: nn.Module, config: Any, reads_tokens: bool) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.reads_tokens = reads_tokens

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        logits: Tensor = self.model(*inputs, **named).logits
        return logits


def build(text: str, classes: int) -> nn.Module:
    """The model that a text names, with a head of so many classes.

    Raises:
        ImportError: the library is not installed.
        ValueError: there is no configuration of that name, no such option, or no head.
    """
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            f"hf:{text} needs transformers ({error}); install it with: pip install transformers"
        ) from error
    config = _configuration(transformers, text, classes)
    kind = type(config)
    if kind in transformers.AutoModelForImageClassification._model_mapping:
        made = transformers.AutoModelForImageClassification.from_config(config)
        return Logits(made, config, reads_tokens=False)
    if kind in transformers.AutoModelForSequenceClassification._model_mapping:
        made = transformers.AutoModelForSequenceClassification.from_config(config)
        return Logits(made, config, reads_tokens=True)
    raise ValueError(
        f"hf:{text}: transformers has no classifier of images or texts of the type "
        f"{config.model_type!r}"
    )


def _configuration(transformers: Any, text: str, classes: int) -> Any:
    name, _, options = text.partition("?")
    changed = dict(_option(option) for option in options.split(",") if option)
    if Path(name).is_dir():
        config = transformers.AutoConfig.from_pretrained(
            name, local_files_only=True, num_labels=classes
        )
    elif name in (known := list(transformers.CONFIG_MAPPING)):
        config = transformers.AutoConfig.for_model(name, num_labels=classes)
    else:
        hint = meant(name, known, 3)
        raise ValueError(
            f"hf:{text}: {name!r} is no type of configuration and no folder here{hint} "
            "(models are made from a configuration; nothing is downloaded)"
        )
    for option in changed:
        if not hasattr(config, option):
            raise ValueError(f"hf:{text}: a configuration of {name!r} has no {option!r}")
    config.update(changed)
    if getattr(config, "pad_token_id", None) is None:  # a classifier of texts asks where one ends
        config.pad_token_id = 0
    return config


def _option(text: str) -> tuple[str, Any]:
    """`hidden_size=192` as a name and a value; a value that is no JSON is a word."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def image_shape(model: nn.Module) -> tuple[int, int, int] | None:
    """The shape of the images, by the model's configuration."""
    if not isinstance(model, Logits):
        return None
    side = getattr(model.config, "image_size", None) or 224
    height, width = (side, side) if isinstance(side, int) else side
    return getattr(model.config, "num_channels", 3), height, width


def reads_tokens(model: nn.Module) -> bool:
    """Whether the model reads texts."""
    return isinstance(model, Logits) and model.reads_tokens


def tokens(model: nn.Module, batch_size: int, generator: torch.Generator) -> Mapping[str, Tensor]:
    """Texts of tokens drawn uniformly, `input_ids` [batch_size, TOKENS] int64, and their mask."""
    config: Any = model.config
    length = min(TOKENS, getattr(config, "max_position_embeddings", None) or TOKENS)
    drawn = torch.randint(1, config.vocab_size, (batch_size, length), generator=generator)
    return {"input_ids": drawn, "attention_mask": torch.ones_like(drawn)}
