"""A value is a number, or says why it is none."""

from __future__ import annotations

import math

import pytest

from vkdnw.proxies import Value
from vkdnw.proxies.value import checked, undefined


def test_a_reason_comes_with_every_value_that_is_not_finite_and_with_no_other() -> None:
    assert float(Value(2.5)) == 2.5
    assert undefined("why").reason == "why"
    for value in (math.nan, math.inf, -math.inf):
        assert checked(value).reason == "the network's numbers overflow"
        with pytest.raises(ValueError, match="finite or has a reason"):
            Value(value)
    with pytest.raises(ValueError, match="finite or has a reason"):
        Value(1.0, "why")


def test_there_is_no_negative_zero() -> None:
    assert str(checked(-0.0)) == "Value(value=0.0, reason=None)"


def test_values_are_ordered_with_the_undefined_below_all() -> None:
    low, high = Value(1.0), Value(2.0)
    tends, undefined_ = undefined("tends there", -math.inf), undefined("has no limit")
    assert sorted([high, undefined_, low, tends]) == [undefined_, tends, low, high]
    assert low < high <= high
    assert low < 1.5 < high
    assert max(low, high) == 2.0
    assert undefined("has no limit") == undefined_ != undefined("for another reason")
    assert len({low, Value(1.0), undefined_, undefined("has no limit")}) == 2
    with pytest.raises(TypeError):
        assert low < "high"
