"""Models by the names of their libraries: the request to a library, and the error without it.

Small modules stand in for the libraries; the tests at the end use those that are installed.
"""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tests.search.models import factories
from vkdnw.search.models.named_models import Source, input_shape, noise
from vkdnw.search.models.scores import Settings, score_model

SMALL = Settings(batch_size=2, resolution=8, classes=3)


def module(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    """A library of this name, for `import` to find."""
    made = ModuleType(name)
    vars(made).update(members)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Stands in for torchvision; requests are kept."""
    asked = []

    def get_model(name: str, **options: Any) -> nn.Module:
        asked.append((name, options))
        return factories.small()

    models = SimpleNamespace(list_models=lambda: ["resnet18", "vgg11"], get_model=get_model)
    module(monkeypatch, "torchvision", models=models)
    return asked


class Config:
    """As transformers has them."""

    model_type = "vit"

    def __init__(self, num_labels: int) -> None:
        self.num_labels, self.image_size, self.num_channels = num_labels, 8, 3
        self.vocab_size, self.max_position_embeddings = 50, 5

    def update(self, changed: dict[str, Any]) -> None:
        vars(self).update(changed)


class ReadsImages(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.head = nn.Linear(3 * config.image_size**2, config.num_labels)

    def forward(self, images: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.head(images.flatten(1)))


class ReadsTexts(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, 4)
        self.head = nn.Linear(4, config.num_labels)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.head(self.words(input_ids).mean(1)))


class TextConfig(Config):
    model_type = "bert"


class OtherConfig(Config):
    model_type = "clap"


def automatic(kind: type[Any], model: type[nn.Module]) -> Any:
    return SimpleNamespace(_model_mapping={kind: model}, from_config=model)


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for transformers: one model of images, one of texts, one of neither."""
    kinds: dict[str, type[Any]] = {"vit": Config, "bert": TextConfig, "clap": OtherConfig}
    module(
        monkeypatch,
        "transformers",
        CONFIG_MAPPING=kinds,
        AutoConfig=SimpleNamespace(for_model=lambda name, num_labels: kinds[name](num_labels)),
        AutoModelForImageClassification=automatic(Config, ReadsImages),
        AutoModelForSequenceClassification=automatic(TextConfig, ReadsTexts),
    )


def test_torchvision_is_asked_for_a_model_without_weights(torchvision: Any) -> None:
    found = score_model(Source("torchvision:resnet18"), SMALL)
    assert found.refused is None
    assert torchvision == [("resnet18", {"weights": None, "num_classes": 3})]
    assert found.input == "3x8x8"


def test_a_misspelt_model_of_torchvision_is_refused_with_the_nearest(torchvision: Any) -> None:
    refused = score_model(Source("torchvision:resnet81"), SMALL).refused
    assert refused is not None
    assert "torchvision has no model 'resnet81'" in refused
    assert "did you mean 'resnet18'" in refused
    assert torchvision == []


def test_a_configuration_of_images_gives_logits(transformers: None) -> None:
    found = score_model(Source("hf:vit"), Settings(batch_size=2, classes=3))
    assert (found.refused, found.input) == (None, "3x8x8")


def test_a_configuration_is_changed_by_options(transformers: None) -> None:
    model = Source("hf:vit?image_size=4,num_channels=3").build(classes=5, seed=0)
    assert input_shape(model, None) == (3, 4, 4)
    assert model(torch.zeros(2, 3, 4, 4)).shape == (2, 5)


def test_a_model_of_texts_reads_tokens(transformers: None) -> None:
    model = Source("hf:bert").build(classes=3, seed=0)
    inputs = noise(model, batch_size=2, resolution=None, seed=0)
    assert inputs["input_ids"].shape == (2, 5)  # as many as the model takes
    assert model(**inputs).shape == (2, 3)
    assert score_model(Source("hf:bert"), Settings(batch_size=2, classes=3)).refused is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hf:vitt", r"'vitt' is no type of configuration and no folder here.*did you mean 'vit'"),
        ("hf:vit?width=3", "a configuration of 'vit' has no 'width'"),
        ("hf:clap", "no classifier of images or texts of the type 'clap'"),
    ],
)
def test_what_transformers_does_not_have_is_refused(
    transformers: None, name: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Source(name).build(3, seed=0)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("timm:resnet18", "timm"),
        ("torchvision:resnet18", "torchvision"),
        ("hf:vit", "transformers"),
    ],
)
def test_without_the_library_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{name} needs {package} .*pip install {package}"):
        Source(name).build(3, seed=0)


@pytest.mark.parametrize("text", ["resnet18", ":resnet18", "timm:", ""])
def test_a_name_says_where_the_model_is(text: str) -> None:
    with pytest.raises(ValueError, match="a model is named as timm:NAME, torchvision:NAME, hf:"):
        Source(text)


# ---- the libraries themselves -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("timm", "timm:mobilenetv3_small_050"),
        ("torchvision", "torchvision:squeezenet1_1"),
        ("transformers", "hf:vit?hidden_size=24,num_hidden_layers=1,num_attention_heads=2"),
        ("transformers", "hf:bert?hidden_size=24,num_hidden_layers=1,num_attention_heads=2"),
    ],
)
def test_a_model_of_the_library_has_as_many_logits_as_classes(package: str, name: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed: pip install {package}")
    model = Source(name).build(classes=3, seed=0)
    inputs = noise(model, batch_size=2, resolution=None, seed=0)
    with torch.no_grad():
        logits = model(inputs) if isinstance(inputs, torch.Tensor) else model(**inputs)
    assert logits.shape == (2, 3)
    assert not model.training
