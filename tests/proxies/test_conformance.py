"""Every proxy of the package passes the tests that one of a user's own must pass."""

from __future__ import annotations

import pytest

from vkdnw.proxies.methods import BUILT_IN
from vkdnw.testing import ProxyTests

NOT_HERE = {
    "dss": "it is defined by attention",
    "ntk": "float32 does not hold its condition number",
    "swap_regularised": "it is defined for a size that is given",
}


class TestEveryProxy(ProxyTests):
    @pytest.fixture(autouse=True, params=[p.name for p in BUILT_IN if p.name not in NOT_HERE])
    def _named(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param
