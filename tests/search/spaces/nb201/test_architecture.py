"""Architecture strings: the grammar, and the errors."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vkdnw.search.spaces import nb201

ARCH = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|none~2|"
ALL_NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def test_edges_are_in_the_order_of_the_string():
    assert [str(edge) for edge in nb201.EDGES] == ["1<-0", "2<-0", "2<-1", "3<-0", "3<-1", "3<-2"]


def test_parse_lists_the_operations_in_the_order_of_the_edges():
    assert nb201.parse(ARCH) == (
        "nor_conv_3x3",
        "skip_connect",
        "nor_conv_1x1",
        "none",
        "avg_pool_3x3",
        "none",
    )


@given(st.tuples(*[st.sampled_from(nb201.OPERATIONS)] * 6))
def test_parse_undoes_format(operations):
    assert nb201.parse(nb201.format(operations)) == operations


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (
            ALL_NONE.replace("none~2", "conv_5x5~2"),
            r"edge 3<-2 at position 40 .*'conv_5x5'.*none, ",
        ),
        (ALL_NONE.replace("none~2", "none~1"), r"edge 3<-2 at position 40 .*'~1'.*must be '~2'"),
        (ALL_NONE.replace("none~2", "none"), r"edge 3<-2 at position 40 .*'' .*must be '~2'"),
        (ALL_NONE.replace("|none~1|+", "|+"), r"node 2 at position 9 .*1 edge\(s\), not 2"),
        (ALL_NONE[:-1], r"node 3 at position 25 .*end with '\|'"),
        ("none~0" + ALL_NONE[8:], r"node 1 at position 0 .*start and end"),
        (ALL_NONE + "+|none~0|", r"4 node\(s\)"),
        ("", r"1 node\(s\)"),
        (" " + ALL_NONE, r"node 1 at position 0"),
        (ALL_NONE + "\n", r"node 3 at position 25"),
        (ALL_NONE.replace("none~0|+|n", "None~0|+|n"), r"edge 1<-0 at position 1 .*'None'"),
        (284, r"not int: 284"),
    ],
)
def test_a_bad_string_is_refused_with_the_place_and_the_reason(arch, message):
    with pytest.raises(nb201.ArchitectureError, match=message):
        nb201.validate(arch)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        (["none"] * 5, "expected 6 operations"),
        (["none"] * 5 + ["conv"], "edge 3<-2: unknown operation 'conv'"),
        ("nonone", "expected 6 operations"),
    ],
)
def test_format_refuses_what_is_not_six_operations(operations, message):
    with pytest.raises(nb201.ArchitectureError, match=message):
        nb201.format(operations)


@pytest.mark.parametrize(
    ("text", "arch"),
    [
        (ARCH, ARCH),
        ("0", nb201.enumerate()[0]),
        ("15624", nb201.enumerate()[15624]),
        ("(2, 0, 1, 3, 4, 1)", ARCH),
        ("[2, 0, 1, 3, 4, 1]", ARCH),
    ],
)
def test_indices_and_tuples_of_naslib_are_read(text, arch):
    assert nb201.NB201().parse(text) == arch


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("15625", "index 15625: there are 15625 architectures"),
        ("(0, 1, 2)", "expected six operations 0 to 4"),
        ("(0, 1, 2, 3, 4, 5)", "expected six operations 0 to 4"),
        ("-1", r"1 node\(s\)"),
    ],
)
def test_other_numbers_are_refused(text, message):
    with pytest.raises(nb201.ArchitectureError, match=message):
        nb201.NB201().parse(text)


def test_an_architecture_error_is_a_value_error():
    with pytest.raises(ValueError, match="node"):
        nb201.validate("?")


def test_enumeration_holds_every_architecture_once():
    every = itertools.product(nb201.OPERATIONS, repeat=6)
    assert sorted(nb201.enumerate()) == sorted(map(nb201.format, every))
