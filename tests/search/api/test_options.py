"""The public functions and their options as data: the same names, the same defaults."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from vkdnw.search.api import entry_points
from vkdnw.search.api.options import EnumerationOptions, EvolutionOptions, SearchOptions

CALLS = [
    pytest.param(entry_points.enumerate, "enumerate_with", EnumerationOptions, id="enumerate"),
    pytest.param(entry_points.evolve, "evolve_with", EvolutionOptions, id="evolve"),
]


class Passed(Exception):
    """Ends a call where its options are complete."""


@pytest.mark.parametrize(("function", "callee", "kind"), CALLS)
def test_the_defaults_of_the_options_are_those_of_the_function(
    function: Callable[..., Any], callee: str, kind: type[SearchOptions]
) -> None:
    parameters = inspect.signature(function).parameters
    assert {one.name for one in fields(kind)} == parameters.keys()
    for one in fields(kind):
        if one.name not in ("space", "out", "sizes"):
            assert one.default == parameters[one.name].default, one.name


@pytest.mark.parametrize(("function", "callee", "kind"), CALLS)
def test_every_argument_arrives_under_its_name(
    function: Callable[..., Any],
    callee: str,
    kind: type[SearchOptions],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def passed(options: SearchOptions) -> None:
        raise Passed(options)

    monkeypatch.setattr(entry_points, callee, passed)
    arguments = {one.name: object() for one in fields(kind) if one.name != "sizes"}
    arguments["out"] = Path("run")
    with pytest.raises(Passed) as found:
        function(**arguments, channels=8)
    options = found.value.args[0]
    assert {name: getattr(options, name) for name in arguments} == arguments
    assert options.sizes == {"channels": 8}
