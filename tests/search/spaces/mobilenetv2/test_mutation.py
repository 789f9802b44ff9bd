"""Menus, and that drawing directly is drawing from the lists of candidates."""

import hashlib
from collections import Counter
from random import Random

import pytest
from scipy.stats import chisquare

from tests.search.spaces.mobilenetv2 import golden
from vkdnw.search.spaces import mobilenetv2
from vkdnw.search.spaces.mobilenetv2 import INITIAL, TYPES, MobileNetV2, mutate, parse
from vkdnw.search.spaces.mobilenetv2.menus import RELEASED_WEIGHTS
from vkdnw.search.spaces.mobilenetv2.mutation import _one_of

ALMOST_NEVER = 1e-4
"""Chance that a correct draw is refused, were its seed not fixed."""


def test_menus_are_the_published_ones():
    published = golden.space()
    for channels, choices in published["channel_choices"].items():
        assert list(mobilenetv2.widths(int(channels))) == choices
    for sublayers, choices in published["sublayer_choices"].items():
        assert sorted(mobilenetv2.depths(int(sublayers)), reverse=True) == choices
    weights = published["type_multiplicity_published"]
    assert {f"E{e}K{k}": w for (e, k), w in zip(TYPES, RELEASED_WEIGHTS, strict=True)} == weights


def test_replacements_are_the_published_candidates():
    for structure, blocks in golden.space()["candidates"].items():
        for block, published in zip(parse(structure), blocks, strict=True):
            ours = sorted(map(str, mobilenetv2.replacements(block)))
            digest = hashlib.sha256("\n".join(ours).encode()).hexdigest()
            assert (len(ours), ours[0]) == (published["unique"], published["first"])
            assert digest == published["sha256_unique_sorted_newline"]


def test_long_blocks_are_split_as_published():
    for structure, published in golden.space()["split6"].items():
        assert mobilenetv2.format(mobilenetv2.split(parse(structure))) == published


def test_a_very_long_block_is_split_until_all_are_short():
    structure = "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE2K5(8,40,2,64,11)"
    parts = mobilenetv2.split(parse(structure))[1:]
    assert [part.sublayers for part in parts] == [3, 3, 5]
    assert [(part.inputs, part.stride) for part in parts] == [(8, 2), (40, 1), (40, 1)]


def changed(structure, child):
    """The places at which a child's blocks differ in more than their input channels."""
    before, after = parse(structure), parse(child)
    assert len(before) == len(after)
    sizes = [(str(a).partition("(")[0], *str(a).split(",")[1:]) for a in before]
    return [
        i
        for i, b in enumerate(after)
        if (str(b).partition("(")[0], *str(b).split(",")[1:]) != sizes[i]
    ]


@pytest.mark.parametrize("replacements", [1, 2, 3])
def test_a_child_differs_in_so_many_blocks_and_each_comes_from_the_menu(replacements):
    random, counts = Random(0), Counter()
    candidates = [
        {str(c).split(",", 1)[1] for c in mobilenetv2.replacements(b)} for b in parse(INITIAL)
    ]
    for _ in range(300):
        child = mutate(INITIAL, random, replacements)
        places = changed(INITIAL, child)
        counts[len(places)] += 1
        for place in places:
            assert str(parse(child)[place]).split(",", 1)[1] in candidates[place]
    assert max(counts) == replacements


def draws(draw, count):
    """The sixth-to-last block's replacements, drawn many times."""
    structure = "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE2K5(8,16,2,8,1)SuperConvK1BNRELU(16,64,1,1)"
    random = Random(7)
    children = (mutate(structure, random, 1, draw) for _ in range(count))
    return Counter(child for child in children if child != structure), parse(structure)[1]


def test_draws_are_uniform_over_the_replacements():
    counts, block = draws("uniform", 20_000)
    within = Counter()
    for child, times in counts.items():
        if str(parse(child)[0]) == "SuperConvK3BNRELU(3,8,2,1)":
            within[str(parse(child)[1])] += times
    candidates = [str(c) for c in mobilenetv2.replacements(block) if c != block]
    assert within.keys() == set(candidates)
    assert chisquare([within[c] for c in candidates]).pvalue > ALMOST_NEVER


def test_released_draws_have_the_published_multiplicities():
    random, counts = Random(7), Counter()
    structure = "SuperConvK3BNRELU(3,8,2,1)SuperResIDWE2K5(8,16,2,8,1)SuperConvK1BNRELU(16,64,1,1)"
    blocks = [parse(mutate(structure, random, 1, "released"))[1] for _ in range(8_000)]
    counts.update((b.expansion, b.kernel) for b in blocks if b != parse(structure)[1])
    total = sum(counts.values())
    others = {t: w for t, w in zip(TYPES, RELEASED_WEIGHTS, strict=True) if t != (2, 5)}
    # The type (2, 5) is counted only where the sizes changed too, so it is left out.
    observed = [counts[t] for t in others]
    expected = [sum(observed) * w / sum(others.values()) for w in others.values()]
    assert total > 1_000
    assert chisquare(observed, expected).pvalue > ALMOST_NEVER


def test_the_final_convolution_is_never_chosen_unless_released():
    fixed = "SuperConvK1BNRELU(3,64,1,1)"
    assert mutate(fixed, Random(0)) == fixed
    random = Random(0)
    same = sum(mutate(INITIAL, random, 1, "released") == INITIAL for _ in range(600))
    # One draw in six is of the final block, and half of the stem's are of its own width.
    assert 600 / 6 < same < 600 / 3


def test_samples_are_structures_of_bounded_size():
    space, random = MobileNetV2(), Random(0)
    samples = [space.sample(random) for _ in range(200)]
    assert len(set(samples)) == 200
    widest = max(block.outputs for s in samples for block in parse(s)[:-1])
    assert widest <= 128 * 2.5**3 + 8 * 3
    assert max(space.cost(s).depth for s in samples) <= 2 + 4 * 7


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"classes": 1}, "classes must be at least 2, got 1"),
        ({"resolution": 0}, "resolution must be at least 1, got 0"),
        ({"target_classes": 0}, "classes must be a positive integer, got 0"),
        ({"formula": "x"}, "formula must be exact or released"),
        ({"draw": "x"}, "draw must be uniform or released"),
    ],
)
def test_a_space_of_bad_sizes_is_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        MobileNetV2(**sizes)


def test_widths_are_drawn_as_random_choice_draws() -> None:
    """Recorded searches are bred again from their seeds."""
    ours, pythons = Random(3), Random(3)
    for count in range(1, 40):
        menu = list(range(count))
        assert [_one_of(menu, ours) for _ in menu] == [pythons.choice(menu) for _ in menu]
