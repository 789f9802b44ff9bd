"""Tests that a search space of one's own must pass, to be run by pytest.

>>> from vkdnw.search.testing import SearchSpaceTests
>>> class TestMySpace(SearchSpaceTests):
...     @pytest.fixture
...     def space(self):
...         return MySpace(classes=3, resolution=16)

Choose small sizes: networks are built and run.
"""

from vkdnw.search.testing.spaces import SearchSpaceTests

__all__ = ["SearchSpaceTests"]
