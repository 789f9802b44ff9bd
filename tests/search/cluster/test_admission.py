"""A run keeps to the class of machines that scored first, unless it is told to mix them."""

from pathlib import Path

import pytest

from tests.search.fakes import SETTINGS
from vkdnw.search.cluster.interface import Greeting
from vkdnw.search.cluster.start_executor import Admission
from vkdnw.search.errors import StateWarning
from vkdnw.search.state.results import open_results
from vkdnw.search.state.store import Store, open_store

NEW = Greeting(2, {"host": "a", "torch": "2.13.0", "processor": "new"}, ("vkdnw=0x1.8p+0",))
TWIN = Greeting(8, {"host": "b", "torch": "2.13.0", "processor": "new"}, ("vkdnw=0x1.8p+0",))
OLD = Greeting(2, {"host": "c", "torch": "2.13.0", "processor": "old"}, ("vkdnw=0x1.9p+0",))


def begun(store: Store) -> Store:
    store.begin(SETTINGS, {}, {0: {"batch": "digest"}})
    return store


def test_the_first_machine_decides_and_equal_ones_may_join(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        admit = Admission(begun(store), mixed=False)
        assert admit(NEW) is None
        assert admit(TWIN) is None
        refusal = admit(OLD)
    assert refusal is not None
    assert "processor old instead of new" in refusal
    assert "--mixed" in refusal


def test_a_later_session_keeps_to_the_class_of_the_first(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert Admission(begun(store), mixed=False)(NEW) is None
    with open_store(tmp_path) as store:
        admit = Admission(begun(store), mixed=False)
        assert admit(OLD) is not None
        assert admit(TWIN) is None


def test_a_mixed_run_takes_every_machine_and_says_so(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        admit = Admission(begun(store), mixed=True)
        assert [admit(machine) for machine in (NEW, OLD, TWIN)] == [None, None, None]
    with pytest.warns(StateWarning, match="2 kinds of machines"), open_results(tmp_path) as results:
        assert results.tally().machine_classes == 2
