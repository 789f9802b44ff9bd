"""Prints the exact bits of many scores, to show that a change computes the same numbers.

    python -m tests.library.bits > before
    ... change the code ...
    python -m tests.library.bits > after
    diff before after

Each line has a model, a value's name and its bits: a number in hexadecimal, or a hash of a matrix.
Networks of three search spaces, models of the tests, and every proxy. The lines depend on the
machine and on the version of torch; compare only lines of one machine.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import warnings
from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor, nn

import vkdnw
from tests.library.cases import CASES
from tests.proxies.networks import NETWORKS, network
from vkdnw import proxies
from vkdnw.search.spaces.mobilenetv2.space import MobileNetV2
from vkdnw.search.spaces.nb201.space import NB201
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.spaces.transnas.space import TransNASMicro

SPACES: tuple[SearchSpace, ...] = (
    NB201(channels=16, cells=1, resolution=16),
    MobileNetV2(resolution=32),
    TransNASMicro(channels=16, classes=8, resolution=32),
)
SAMPLES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=4, help="of each search space")
    parser.add_argument("--without-cases", action="store_true", help="search spaces only")
    parser.add_argument(
        "--together", action="store_true", help="all proxies of a network in one call: faster"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for number in range(options.networks):
        for space in SPACES:
            for line in space_lines(space, number, options.together):
                print(line, flush=True)
    if not options.without_cases:
        for line in [*case_lines(), *odd_lines()]:
            print(line, flush=True)


def space_lines(space: SearchSpace, number: int, together: bool) -> Iterator[str]:
    """Every value of one random network of a space."""
    architecture = space.sample(Random(number))
    torch.manual_seed(number)
    model = space.build(architecture)
    inputs = labelled_inputs(space.classes, space.resolution, number)
    features = space.features(model)
    label = f"{space.name} {architecture}"
    lines = lines_together if together else proxy_lines
    yield from lines(label, model, inputs, features)
    vkdnw.initialise(model, "kaiming_normal", seed=number)
    yield f"{label} score {numbers(vkdnw.score(model.eval(), inputs.noise).eigenvalues)}"


def odd_lines() -> Iterator[str]:
    """Every value of the models that the tests of proxies use."""
    for name in NETWORKS:
        yield from proxy_lines(name, network(name).float(), labelled_inputs(4, 8, 0), None)


def case_lines() -> Iterator[str]:
    """Jacobians of the tests' models, by rules and tapes."""
    for case in CASES:
        for mode in ("reverse", "forward"):
            for weights in (vkdnw.weights.first(), vkdnw.weights.every()):
                try:
                    model, batch = case.model(torch.float32), case.batch(torch.float32)
                    found = vkdnw.jacobian(
                        model, batch, weights=weights, output=case.output, mode=mode
                    )
                    value = numbers(found)
                except Exception as error:
                    value = type(error).__name__
                yield f"{case.name} {mode} {type(weights).__name__} {value}"


def proxy_lines(
    label: str, model: nn.Module, inputs: proxies.Inputs, features: tuple[str, ...] | None
) -> Iterator[str]:
    for initialise in (True, False):
        for name in proxies.names():
            try:
                found = proxies.compute(
                    [name], model, inputs, seed=7, features=features, initialise=initialise
                )[name].value
                value = bits(found)
            except Exception as error:
                value = type(error).__name__
            yield f"{label} {name} {initialise} {value}"


def lines_together(
    label: str, model: nn.Module, inputs: proxies.Inputs, features: tuple[str, ...] | None
) -> Iterator[str]:
    """The values of all proxies from one call, in which they share passes."""
    values = proxies.compute(proxies.names(), model, inputs, seed=7, features=features)
    for name, found in values.items():
        yield f"{label} {name} together {bits(found.value)}"


def bits(value: float) -> str:
    return "nan" if math.isnan(value) else float(value).hex()


def labelled_inputs(classes: int, resolution: int, seed: int) -> proxies.Inputs:
    source = torch.Generator().manual_seed(seed)

    def images() -> Tensor:
        return torch.randn(SAMPLES, 3, resolution, resolution, generator=source)

    def labels() -> Tensor:
        return torch.randint(classes, (SAMPLES,), generator=source)

    return proxies.Inputs(
        noise=images(),
        images=images(),
        labels=labels(),
        second_images=images(),
        second_labels=labels(),
        size=(40.0, 40.0),
    )


def numbers(values: Tensor) -> str:
    return hashlib.sha256(values.detach().contiguous().numpy().tobytes()).hexdigest()[:16]


if __name__ == "__main__":
    main()
