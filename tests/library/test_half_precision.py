"""Half precision is verified by what it determines: wrong columns are found, rounding is none."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

import vkdnw
from vkdnw.options import Options
from vkdnw.per_sample.cotangents import ClassCotangents
from vkdnw.per_sample.probing.trace import trace_model
from vkdnw.per_sample.problem import Problem, prepared
from vkdnw.per_sample.reverse_mode.chunking import Chunk
from vkdnw.per_sample.verification import NotAsAutograd, Verification
from vkdnw.search.spaces import nb201

HALF = [torch.bfloat16, torch.float16]
CLASSES = 5
ALL_CONVOLUTIONS = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)


def network() -> nn.Module:
    """Deep enough that rounding is a few percent of a derivative."""
    layers: list[nn.Module] = []
    for inputs in (3, 8, 8, 8):
        layers += [nn.Conv2d(inputs, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES))
    return vkdnw.initialise(model, "kaiming_normal", seed=0).eval()


def images() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def computed(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Logits ``[B, C]`` and the Jacobian ``[B, C, P]`` of a call."""
    model, batch = network().to(dtype), images().to(dtype)
    with torch.no_grad():
        return model(batch), vkdnw.jacobian(model, batch)


@contextmanager
def verified(dtype: torch.dtype) -> Iterator[tuple[Problem, Callable[[Tensor, Tensor], None]]]:
    """A problem, and a function that verifies its logits and its Jacobian."""
    with prepared(network().to(dtype), images().to(dtype), Options()) as problem:
        verification = Verification(problem, trace_model(problem))
        expected = verification.expected(ClassCotangents("every", CLASSES, problem.device))

        def verify(logits: Tensor, jacobian: Tensor) -> None:
            chunk = Chunk(range(len(logits)), jacobian, logits)
            list(verification.verified([chunk], problem.selection, expected))

        yield problem, verify


def dropped(jacobian: Tensor, column: int) -> None:
    jacobian[:, :, column] = 0


def doubled(jacobian: Tensor, column: int) -> None:
    jacobian[:, :, column] *= 2


def negated(jacobian: Tensor, column: int) -> None:
    jacobian[:, :, column] *= -1


def of_another_sample(jacobian: Tensor, column: int) -> None:
    jacobian[:, :, column] = jacobian[:, :, column].roll(1, 0)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("broken", [dropped, doubled, negated, of_another_sample])
def test_every_wrong_column_is_found(
    broken: Callable[[Tensor, int], None], dtype: torch.dtype
) -> None:
    logits, jacobian = computed(dtype)
    with verified(dtype) as (problem, verify):
        verify(logits, jacobian)
        for column in range(len(problem.selection)):
            wrong = jacobian.clone()
            broken(wrong, column)
            if torch.equal(wrong, jacobian):  # the head's bias, which is alike for all samples
                continue
            with pytest.raises(NotAsAutograd, match="derivatives differ"):
                verify(logits, wrong)


@pytest.mark.parametrize("dtype", HALF)
def test_logits_of_another_sample_are_found(dtype: torch.dtype) -> None:
    logits, jacobian = computed(dtype)
    with verified(dtype) as (_, verify), pytest.raises(NotAsAutograd, match="logits differ"):
        verify(logits.roll(1, 0), jacobian)


def test_rounding_at_depth_is_no_reason_to_leave_the_fast_way() -> None:
    """Plain autograd's bfloat16 derivatives of this network are off by a third of their size."""
    model = vkdnw.initialise(nb201.build(ALL_CONVOLUTIONS), "kaiming_normal", seed=0).eval()
    batch = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error", vkdnw.FallbackWarning)
        vkdnw.score(model, batch, dtype=torch.bfloat16)
