"""Which architectures a command asks for, and the network scored for each."""

from typing import Any

import pytest

from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.spaces.nb_macro import NBMacro
from vkdnw.search.spaces.selection import Selection, describe, sample

SPACE = NB201()
CONV = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"
SAME = "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|"


def test_a_sample_is_the_beginning_of_every_larger_one() -> None:
    large = Selection(sample=1000).architectures(SPACE)
    assert Selection(sample=100).architectures(SPACE) == large[:100]
    assert len(set(large)) == 1000


def test_restricting_to_the_live_keeps_the_order() -> None:
    live = set(nb201.live())
    everything = Selection(sample=15_625).architectures(SPACE)
    expected = [architecture for architecture in everything if architecture in live]
    assert Selection(sample=9_445, subset="live").architectures(SPACE) == expected


def test_another_seed_is_another_sample() -> None:
    one, other = (set(Selection(sample=100, sample_seed=s).architectures(SPACE)) for s in (0, 1))
    assert len(one & other) < 10


def test_the_sample_of_a_seed_is_fixed_for_good() -> None:
    """Runs are resumed with later versions: this value may never change."""
    assert sample(["a", "b", "c", "d", "e"], 3, seed=0) == ["d", "a", "b"]


def test_all_and_live() -> None:
    assert Selection(everything=True).architectures(SPACE) == list(nb201.enumerate())
    assert Selection(everything=True, subset="live").architectures(SPACE) == list(nb201.live())


def test_listed_architectures_are_checked_and_taken_once() -> None:
    assert Selection(listed=(CONV, SAME, CONV)).architectures(SPACE) == [CONV, SAME]
    with pytest.raises(nb201.ArchitectureError):
        Selection(listed=("|conv~0|",)).architectures(SPACE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "--sample N, --all or --arch"),
        ({"sample": 3, "everything": True}, "--sample N, --all or --arch"),
        ({"listed": (CONV,), "subset": "live"}, "live restricts a sample"),
    ],
)
def test_contradictions_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Selection(**wrong)


def test_a_sample_larger_than_the_space_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 9445 architectures, asked were 9446"):
        Selection(sample=9_446, subset="live").architectures(SPACE)


def test_equal_networks_are_scored_once_unless_asked_otherwise() -> None:
    once = describe([CONV, SAME], NB201())
    assert len({asked.network for asked in once}) == 1
    twice = describe([CONV, SAME], NB201(as_written=True))
    assert [asked.network for asked in twice] == [CONV, SAME]


def test_counts_are_those_of_the_architecture_at_the_configured_size() -> None:
    (asked,) = describe([CONV], NB201(channels=4, cells=1, classes=3, resolution=8))
    assert asked.counts == {
        "layers": nb201.layers(CONV, cells=1),
        "flops": nb201.flops(CONV, channels=4, cells=1, classes=3, resolution=8),
        "parameters": nb201.parameters(CONV, channels=4, cells=1, classes=3),
    }


def test_a_size_that_no_network_has_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        NB201(resolution=30)


def test_a_selection_within_a_list_keeps_to_it_and_to_the_subset() -> None:
    space = NBMacro()
    known = ["22212202", "22212220", "00000000", "11111111", "00000001"]
    everything = Selection(everything=True, subset="distinct").within(known, space)
    assert everything.architectures(space) == ["22212220", "00000000", "11111111"]
    some = Selection(sample=2, sample_seed=3).within(known, space)
    assert some.architectures(space) == sample(known, 2, 3)
    with pytest.raises(ValueError, match="a list names its architectures"):
        Selection(listed=("00000000",)).within(known, space)
    with pytest.raises(ValueError, match="a sample has 1 to 5"):
        Selection(sample=6).within(known, space)
