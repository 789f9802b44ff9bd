"""A configuration is checked when it is made, and two of them are compared key by key."""

from typing import Any

import pytest

from vkdnw.search.configuration import (
    FREE_SETTINGS,
    Configuration,
    Difference,
    differences,
    normalise_scalars,
    refusal,
    versions,
)


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("first", "first:128"),
        ("first:16", "first:16"),
        ("spaced:4", "spaced:4:128"),
        ("spaced:4:32", "spaced:4:32"),
        ("random:1000:7", "random:1000:7"),
        ("every", "every"),
    ],
)
def test_scalars_are_written_in_full_so_that_equal_choices_compare_equal(
    given: str, full: str
) -> None:
    assert normalise_scalars(given) == full
    assert normalise_scalars(full) == full
    assert Configuration(scalars=given).scalars == full


@pytest.mark.parametrize("given", ["last", "spaced", "first:0", "random:10", "every:3", ""])
def test_an_unknown_choice_of_scalars_is_refused_with_the_forms(given: str) -> None:
    with pytest.raises(ValueError, match=r"first\[:TENSORS\], spaced:COUNT"):
        normalise_scalars(given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"smoothing": 1.0}, r"smoothing must lie in \[0, 1\), got 1.0"),
        ({"max_memory": 0}, "max_memory must be at least 1"),
    ],
)
def test_a_value_out_of_range_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Configuration(**wrong)


def test_equal_settings_do_not_differ() -> None:
    assert differences(Configuration().settings(), Configuration().settings()) == []


@pytest.mark.parametrize(
    "key", [key for key in Configuration().settings() if key not in FREE_SETTINGS]
)
def test_every_setting_of_a_configuration_binds(key: str) -> None:
    stored = Configuration().settings()
    assert differences(stored, {**stored, key: "other"}) == [Difference(key, stored[key], "other")]


@pytest.mark.parametrize("key", FREE_SETTINGS)
def test_free_settings_do_not_bind(key: str) -> None:
    assert differences({"dtype": "float32", key: 1}, {"dtype": "float32", key: 2}) == []


def test_a_setting_that_one_side_does_not_know_counts_as_null() -> None:
    """A later version may add a setting whose null means the behaviour before."""
    assert differences({"a": 1}, {"a": 1, "device": None}) == []
    assert differences({"a": 1, "b": 2}, {"a": 1}) == [Difference("b", 2, None)]


def test_versions_say_what_computes() -> None:
    found = versions()
    assert found.keys() == {"vkdnw", "torch", "python", "system", "cpu", "ops"}
    assert all(found.values())


def test_a_refusal_names_what_explains_the_rest() -> None:
    """Two spaces differ in all their sizes, and more than a few options are too many to read."""
    configured = Configuration().settings()
    one = {"space": "a", "classes": 10, **configured}
    other = {"space": "b", "classes": 100, "depth": 3, **configured, "dtype": "float64"}
    assert refusal(differences(one, other)) == 'space: stored "a", asked "b"'
    evolution = {**one, "strategy": "evolution", "population": 64, "keys": "flops"}
    assert refusal(differences(one, evolution)) == (
        "a list of architectures is stored, an evolution asked for"
    )
    many = {**one, "dtype": "float64", "batch_size": 8, "smoothing": 0.1, "classes": 7}
    assert refusal(differences(one, many)).endswith("; and 1 more")
