"""The expectations of scoring, storage, workers and evolution of a search space, as tests."""

import json
import pickle
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, is_dataclass
from functools import partial
from random import Random
from typing import Any

import pytest
import torch
from torch import nn

import vkdnw
from vkdnw.runtime.threads import one_thread
from vkdnw.search.spaces.search_space import ArchitectureError, Cost, SearchSpace, settings_of

BUILT = 5
"""Architectures that a test builds."""
READ = 50
"""Architectures that a test only reads."""
BATCH = 2


class SearchSpaceTests:
    """Inherit from this class, and give the space as a fixture named `space`."""

    @pytest.fixture
    def space(self) -> SearchSpace:
        raise NotImplementedError("override the fixture `space` so that it returns your space")

    @pytest.fixture(autouse=True)
    def _one_thread(self) -> Iterator[None]:
        """Networks are tiny here: threads would mostly wait for each other."""
        with one_thread():
            yield

    # ---- the space itself: data that travels to workers and is written into runs -------------

    def test_is_a_frozen_dataclass(self, space: SearchSpace) -> None:
        """Workers get a copy; a change in one of them would be lost."""
        sizes: Any = space
        assert is_dataclass(sizes), "a space is a dataclass of its sizes"
        for field in fields(sizes):
            with pytest.raises(FrozenInstanceError):
                setattr(sizes, field.name, getattr(sizes, field.name))

    def test_travels_between_processes(self, space: SearchSpace) -> None:
        assert pickle.loads(pickle.dumps(space)) == space

    def test_is_recorded_as_json(self, space: SearchSpace) -> None:
        """A run keeps the sizes, and refuses to go on with others."""
        settings = settings_of(space)
        assert json.loads(json.dumps(settings)) == settings
        assert settings["space"] == space.name

    # ---- architectures: strings that are drawn, checked and compared --------------------------

    def test_samples_are_architectures(self, space: SearchSpace) -> None:
        for architecture in samples(space, READ):
            assert isinstance(architecture, str)
            space.validate(architecture)

    def test_mutations_are_architectures(self, space: SearchSpace) -> None:
        random = Random(0)
        architecture = space.sample(random)
        for _ in range(READ):
            architecture = space.mutate(architecture, random)
            space.validate(architecture)

    def test_draws_follow_from_the_generator(self, space: SearchSpace) -> None:
        """A search that was killed breeds the same networks again."""

        def draw(seed: int) -> list[str]:
            random = Random(seed)
            drawn = [space.sample(random) for _ in range(5)]
            return [*drawn, *(space.mutate(architecture, random) for architecture in drawn)]

        assert draw(1) == draw(1)
        assert draw(1) != draw(2), "two generators gave the same ten architectures"

    def test_mutations_leave_their_parent(self, space: SearchSpace) -> None:
        random = Random(0)
        parents = samples(space, READ)
        changed = [space.mutate(parent, random) != parent for parent in parents]
        assert any(changed), f"none of {READ} mutations changed anything"

    def test_canonical_stands_for_itself(self, space: SearchSpace) -> None:
        for architecture in samples(space, READ):
            network = space.canonical(architecture)
            space.validate(network)
            assert space.canonical(network) == network

    def test_equal_networks_have_as_many_parameters(self, space: SearchSpace) -> None:
        for architecture in samples(space, READ):
            network = space.canonical(architecture)
            assert space.cost(network).parameters == space.cost(architecture).parameters

    @pytest.mark.parametrize("wrong", ["", "?", "conv", "\n"])
    def test_what_is_no_architecture_is_refused(self, space: SearchSpace, wrong: str) -> None:
        for method in (space.validate, space.canonical, space.cost, space.build, space.describe):
            with pytest.raises(ArchitectureError):
                method(wrong)

    def test_is_described_in_a_few_lines(self, space: SearchSpace) -> None:
        for architecture in samples(space, BUILT):
            assert space.describe(architecture).strip()

    # ---- networks: their counts are right -----------------------------------------------------

    def test_networks_map_images_to_logits(self, space: SearchSpace) -> None:
        for architecture in samples(space, BUILT):
            model = space.build(architecture)
            assert model.training, "a network is built in train mode"
            with torch.no_grad():
                assert model.eval()(images(space)).shape == (BATCH, space.classes)

    def test_costs_are_those_of_the_network(self, space: SearchSpace) -> None:
        """Layers and parameters exactly; that FLOPs are right is the space's own to test."""
        for architecture in samples(space, BUILT):
            cost = space.cost(architecture)
            assert isinstance(cost, Cost)
            tensors = list(self.costed(space, architecture).parameters())
            assert cost.layers == len(tensors)
            assert cost.parameters == sum(tensor.numel() for tensor in tensors)
            assert cost.flops > 0

    def costed(self, space: SearchSpace, architecture: str) -> nn.Module:
        """The network that `cost` tells of; override it where that is not the one scored."""
        return space.build(architecture)

    def test_features_are_modules_called_once(self, space: SearchSpace) -> None:
        for architecture in samples(space, BUILT):
            model = space.build(architecture).eval()
            names = space.features(model)
            assert len(names) == len(set(names)) >= 2, f"two or more features, not {names}"
            calls: list[str] = []
            for name in names:
                hook = partial(_note, calls, name)
                model.get_submodule(name).register_forward_hook(hook)
            with torch.no_grad():
                model(images(space))
            assert calls == list(names), "features are called once each, in their order"

    def test_networks_are_deterministic_and_keep_samples_apart(self, space: SearchSpace) -> None:
        """In eval mode, as the Fisher information takes for granted."""
        batch = images(space)
        for architecture in samples(space, BUILT):
            model = space.build(architecture).double().eval()
            with torch.no_grad():
                together = model(batch.double())
                apart = torch.cat([model(one[None]) for one in batch.double()])
            torch.testing.assert_close(together, apart, rtol=1e-9, atol=1e-9)

    def test_networks_are_scored(self, space: SearchSpace) -> None:
        for architecture in samples(space, 2):
            model = space.build(architecture).eval()
            vkdnw.initialise(model, "kaiming_normal", seed=0)
            vkdnw.score(model, images(space))


def _note(calls: list[str], name: str, *_: object) -> None:
    calls.append(name)


def samples(space: SearchSpace, count: int) -> list[str]:
    """The same architectures in every test."""
    random = Random(0)
    return [space.sample(random) for _ in range(count)]


def images(space: SearchSpace) -> torch.Tensor:
    """A batch of standard normal images, the same in every test."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, 3, space.resolution, space.resolution, generator=generator)
