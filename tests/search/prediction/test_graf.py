"""Graph features against cells worked out by hand, and against the space's own facts."""

import pytest

from vkdnw.search.prediction.graf import NO_PATH, SETS, graf_features
from vkdnw.search.spaces import nb201

SKIP, ONE, THREE, POOL = "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"

# 0 -skip-> 1 -3x3-> 2 -3x3-> 3, with 0 -1x1-> 3 beside; 0 -> 2 and 1 -> 3 carry nothing.
CHAIN = nb201.format([SKIP, "none", THREE, ONE, "none", THREE])


@pytest.fixture(scope="module")
def chain():
    return graf_features([CHAIN]).iloc[0]


def of(features, operations):
    """The features of one set of operations, by name."""
    suffix = f"({'|'.join(operations)})"
    return {
        name.removesuffix(suffix): features[name]
        for name in features.index
        if name.endswith(suffix) and not name.startswith("count")
    }


def test_operations_are_counted(chain):
    counts = {name: chain[name] for name in chain.index if name.startswith("count")}
    assert counts == {
        "count(none)": 2,
        "count(skip_connect)": 1,
        "count(nor_conv_1x1)": 1,
        "count(nor_conv_3x3)": 2,
        "count(avg_pool_3x3)": 0,
    }


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        (
            (THREE,),
            dict(shortest=NO_PATH, most=2, out=0, mean=0.5, max_out=1, max_in=1, **{"in": 1}),
        ),
        ((ONE,), dict(shortest=1, most=1, out=1, mean=0.25, max_out=1, max_in=1, **{"in": 1})),
        (
            (SKIP, THREE),
            dict(shortest=3, most=3, out=1, mean=0.75, max_out=1, max_in=1, **{"in": 1}),
        ),
        ((SKIP, ONE), dict(shortest=1, most=1, out=2, mean=0.5, max_out=2, max_in=1, **{"in": 1})),
        (
            (ONE, THREE),
            dict(shortest=1, most=2, out=1, mean=0.75, max_out=1, max_in=2, **{"in": 2}),
        ),
        ((POOL,), dict(shortest=NO_PATH, most=0, out=0, mean=0, max_out=0, max_in=0, **{"in": 0})),
    ],
)
def test_paths_and_degrees_of_a_cell_by_hand(chain, operations, expected):
    assert of(chain, operations) == expected


def test_every_set_of_operations_has_its_features(chain):
    assert len(SETS) == len(set(SETS)) == 2**4 - 1
    assert all(len(of(chain, operations)) == 7 for operations in SETS)
    assert len(chain) == 5 + 7 * 15


def test_dead_edges_are_on_no_path():
    dead = graf_features([nb201.format([THREE, "none", "none", ONE, "none", "none"])]).iloc[0]
    assert of(dead, (THREE,))["most"] == 0
    assert of(dead, (THREE,))["out"] == 1


def test_cells_without_an_edge_between_input_and_output_have_no_path():
    nothing = graf_features([nb201.format(["none"] * 6)]).iloc[0]
    assert {of(nothing, operations)["shortest"] for operations in SETS} == {NO_PATH}


def test_a_bad_string_is_refused():
    with pytest.raises(nb201.ArchitectureError):
        graf_features(["|conv~0|"])
