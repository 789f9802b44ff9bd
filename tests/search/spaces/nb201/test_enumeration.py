"""The order of the benchmark's index, and the architectures without dead edges."""

import csv
import gzip

import pytest

from tests.shared import DATA, needs_data
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nb201 import Edge

NONE_BUT = {
    "1<-0 is not read": (
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        [Edge(1, 0)],
    ),
    "2<-1 and 3<-2 have no input": (
        "|none~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|",
        [Edge(2, 1), Edge(3, 2)],
    ),
    "2 is not read": (
        "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|none~0|none~1|none~2|",
        [Edge(1, 0), Edge(2, 0), Edge(2, 1)],
    ),
    "2 is not read, 1 is": (
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|none~2|",
        [Edge(2, 1)],
    ),
}


def test_the_first_architectures_are_those_of_the_official_index():
    # As NATS-Bench's meta file lists them.
    architectures = nb201.enumerate()
    assert len(architectures) == 15_625
    assert architectures[0] == (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
        "|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    assert architectures[284] == (
        "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|none~0|nor_conv_1x1~1|none~2|"
    )


@needs_data
def test_the_whole_order_is_that_of_the_official_index():
    with gzip.open(DATA / "nats_tss_test_accuracy.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(15_625))
    assert tuple(row["arch"] for row in rows) == nb201.enumerate()


@pytest.mark.parametrize(("arch", "dead"), NONE_BUT.values(), ids=NONE_BUT.keys())
def test_dead_edges_lie_on_no_path_from_the_input_to_the_output(arch, dead):
    assert list(nb201.dead_edges(arch)) == dead
    assert not nb201.is_live(arch)


def test_9445_architectures_are_live():
    live = nb201.live()
    assert len(live) == 9_445
    assert list(live) == [arch for arch in nb201.enumerate() if not nb201.dead_edges(arch)]


def test_pruning_leaves_the_live_edges_and_no_dead_one():
    for arch in nb201.enumerate()[::13]:
        pruned = nb201.prune(arch)
        dead = nb201.dead_edges(arch)
        expected = [
            "none" if edge in dead else operation
            for edge, operation in zip(nb201.EDGES, nb201.parse(arch), strict=True)
        ]
        assert list(nb201.parse(pruned)) == expected
        assert nb201.is_live(pruned)
