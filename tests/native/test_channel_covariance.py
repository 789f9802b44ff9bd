"""vkdnw.ops.covariance against centred products in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.native.threads import on_one_and_two_threads
from vkdnw.ops.covariance import channel_covariance, load


def by_definition(rows: Tensor) -> Tensor:
    centred = rows.double() - rows.double().mean(0)
    return centred.T @ centred / len(rows)


@pytest.mark.parametrize("channels", [1, 3, 16, 20, 64, 130])
@pytest.mark.parametrize("count", [1, 5, 255, 256, 257, 8193, 20000])
def test_agrees_with_the_definition(count: int, channels: int) -> None:
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(count, channels, generator=rng) * torch.rand(channels, generator=rng) + 5
    found, expected = channel_covariance(rows), by_definition(rows)
    deviations = (rows.double() - rows[0].double()).square().mean(0).sqrt()
    # Each of n roundings of an element is at most eps of the product of the summands.
    bound = (count + 4) * torch.finfo(torch.float64).eps * torch.outer(deviations, deviations)
    assert ((found - expected).abs() <= 2 * bound).all()
    assert torch.equal(found, found.T)


def test_what_is_constant_has_a_covariance_of_zero() -> None:
    rows = torch.full((1000, 16), 0.1)
    assert not channel_covariance(rows).any()
    rows[:, 3] = torch.arange(1000)
    assert channel_covariance(rows)[3, 3] == pytest.approx((1000**2 - 1) / 12)
    assert channel_covariance(rows).count_nonzero() == 1


def test_a_large_mean_costs_no_digits() -> None:
    steps = torch.arange(4096) % 2
    rows = torch.stack([steps + 2.0**23, 1.0 - steps], dim=1)  # exact in float32
    assert torch.equal(
        channel_covariance(rows), torch.tensor([[0.25, -0.25], [-0.25, 0.25]]).double()
    )


def test_what_is_not_finite_reaches_its_channel() -> None:
    rows = torch.randn(100, 16)
    rows[50, 3] = torch.nan
    reached = channel_covariance(rows).isnan()
    assert reached[3].all()
    assert reached.sum() == 31


def test_any_thread_count_gives_the_same_bits() -> None:
    rows = torch.randn(30000, 24)
    one, two = on_one_and_two_threads(lambda: channel_covariance(rows))
    assert torch.equal(one, two)


def test_opcheck() -> None:
    load()
    torch.library.opcheck(torch.ops.vkdnw.channel_covariance, (torch.randn(20, 5),))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.zeros(4), r"rows has 1 dimensions, not 2: \[n, C\]"),
        (torch.zeros(4, 3).double(), "rows is Double, not float32; convert it, or use torch.cov"),
        (torch.zeros(4, 3).T, r"rows is not contiguous; call rows\.contiguous\(\)"),
        (torch.zeros(0, 3), r"rows has shape \[0, 3\]; a covariance takes a row and a column"),
    ],
)
def test_refuses_by_name_with_the_remedy(rows: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        channel_covariance(rows)
