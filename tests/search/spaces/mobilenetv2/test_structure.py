"""Structure strings: the grammar, the canonical text, and the errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vkdnw.search.spaces import mobilenetv2
from vkdnw.search.spaces.mobilenetv2 import INITIAL, Convolutions, InvertedResiduals

SHORT = "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE6K5(8,32,2,16,3)SuperConvK1BNRELU(32,64,1,1)"


def test_parse_reads_the_blocks():
    assert mobilenetv2.parse(SHORT) == (
        Convolutions(kernel=3, inputs=3, outputs=8, stride=2, sublayers=1),
        InvertedResiduals(
            expansion=6, kernel=5, inputs=8, outputs=32, stride=2, bottleneck=16, sublayers=3
        ),
        Convolutions(kernel=1, inputs=32, outputs=64, stride=1, sublayers=1),
    )


@given(st.integers(0, 2**32))
def test_format_undoes_parse(seed):
    import random

    structure = mobilenetv2.sample(random.Random(seed))
    assert mobilenetv2.format(mobilenetv2.parse(structure)) == structure


def test_names_of_blocks_are_dropped():
    named = SHORT.replace("IDWE6K5(", "IDWE6K5(block-7|")
    assert mobilenetv2.canonical(named) == SHORT


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ("", r"block 0 at position 0 .*expected SuperConv"),
        (SHORT[:-1], r"block 2 at position 54 .*expected"),
        (" " + SHORT, r"block 0 at position 0 "),
        (SHORT + "\n", r"block 3 at position 82 "),
        (SHORT.replace("IDW", "KXK"), r"block 1 at position 26 .*unknown block 'SuperResKXKE6K5'"),
        (SHORT.replace("E6K5", "E3K5"), r"block 1 at position 26 .*expansion 3 .*1, 2, 4, 6"),
        (SHORT.replace("E6K5", "E6K9"), r"block 1 .*kernel 9 is not among 3, 5, 7"),
        (SHORT.replace("ConvK3", "ConvK2"), r"block 0 .*kernel 2 is not among 1, 3, 5, 7"),
        (SHORT.replace("16,3)", "16)"), r"block 1 .*4 size\(s\), not the 5 of \(in,out,stride"),
        (SHORT.replace("16,3)", "0,3)"), r"block 1 .*bottleneck must be a positive .* got '0'"),
        (SHORT.replace("16,3)", "16, 3)"), r"block 1 .*sub must be a positive integer, got ' 3'"),
        (SHORT.replace("(32,64", "(40,64"), r"block 2 at position 54.*reads 40 .*block 1 gives 32"),
        (SHORT.replace("(3,8", "(1,8"), r"block 0 at position 0.*reads 1 .*an image has 3"),
        (17, r"not int: 17"),
    ],
)
def test_a_bad_structure_is_refused_with_the_block_the_position_and_the_reason(structure, message):
    with pytest.raises(mobilenetv2.ArchitectureError, match=message):
        mobilenetv2.validate(structure)


def test_the_initial_structure_is_one():
    assert mobilenetv2.canonical(INITIAL) == INITIAL
    assert len(mobilenetv2.parse(INITIAL)) == 6
