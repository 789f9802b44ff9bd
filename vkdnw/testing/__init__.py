"""Tests that extensions of one's own must pass, to be run by pytest.

>>> from vkdnw.testing import ProxyTests
>>> class TestMyProxy(ProxyTests):
...     name = "my_proxy"

:mod:`vkdnw.search.testing` has those of search spaces.
"""

from vkdnw.testing.proxies import ProxyTests

__all__ = ["ProxyTests"]
