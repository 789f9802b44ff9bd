"""The spaces of this package, and that of the example, pass the tests of any space.

And the tests can fail: each is shown a space with one thing wrong.
"""

import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
import torch
from torch import nn

from vkdnw.search.spaces.mobilenetv2 import MobileNetV2
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.spaces.search_space import Cost
from vkdnw.search.testing import SearchSpaceTests

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "staircase_space.py"


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("staircase_space", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
    if not hasattr(module, "Staircase"):
        spec.loader.exec_module(module)
    return module


class TestNB201(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return NB201(channels=4, cells=1, classes=3, resolution=8)


class TestMobileNetV2(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return MobileNetV2(classes=3, resolution=32)

    def costed(self, space, architecture):
        return replace(space, classes=space.target_classes).build(architecture)


class TestStaircase(SearchSpaceTests):
    @pytest.fixture
    def space(self):
        return example().Staircase(classes=3, resolution=8)


@dataclass(frozen=True)
class Broken(NB201):
    """NAS-Bench-201 with one thing wrong."""

    fault: str = ""

    def sample(self, random: Random) -> str:
        return super().sample(Random() if self.fault == "draws" else random)

    def mutate(self, architecture: str, random: Random) -> str:
        return architecture if self.fault == "mutate" else super().mutate(architecture, random)

    def validate(self, architecture: str) -> None:
        if self.fault != "validate":
            super().validate(architecture)

    def canonical(self, architecture: str) -> str:
        found = super().canonical(architecture)
        return self.mutate(found, Random(found)) if self.fault == "canonical" else found

    def cost(self, architecture: str) -> Cost:
        cost = super().cost(architecture)
        return replace(cost, layers=cost.layers + (self.fault == "cost"))

    def build(self, architecture: str) -> nn.Module:
        model = super().build(architecture)
        if self.fault == "logits":
            model = nn.Sequential(model, nn.Linear(self.classes, self.classes + 1))
        if self.fault == "mode":
            model.eval()
        if self.fault == "mixing":
            model = Mixing(model)
        return model

    def features(self, model: nn.Module) -> tuple[str, ...]:
        names = super().features(model)
        return names[::-1] if self.fault == "features" else names


class Mixing(nn.Module):
    """Every sample's logits depend on the others."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(x)
        return logits - logits.mean(0)


SIZES = {"channels": 4, "cells": 1, "classes": 3, "resolution": 8}


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("draws", "draws_follow_from_the_generator"),
        ("mutate", "mutations_leave_their_parent"),
        ("canonical", "canonical_stands_for_itself"),
        ("cost", "costs_are_those_of_the_network"),
        ("logits", "networks_map_images_to_logits"),
        ("mode", "networks_map_images_to_logits"),
        ("mixing", "networks_are_deterministic_and_keep_samples_apart"),
        ("features", "features_are_modules_called_once"),
    ],
)
def test_a_space_with_a_fault_fails_the_test_of_it(fault, test):
    getattr(SearchSpaceTests(), f"test_{test}")(Broken(**SIZES))
    with pytest.raises(AssertionError):
        getattr(SearchSpaceTests(), f"test_{test}")(Broken(**SIZES, fault=fault))


def test_a_space_that_accepts_anything_fails():
    space = Broken(**SIZES, fault="validate")
    with pytest.raises(pytest.fail.Exception):
        SearchSpaceTests().test_what_is_no_architecture_is_refused(space, "?")


def test_the_example_searches_its_space(tmp_path, capsys):
    example().main(tmp_path, evaluations=3, workers=0)
    assert "evolution of staircase, 3 of 3 scored" in capsys.readouterr().out
