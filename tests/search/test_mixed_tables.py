"""Every command that shows values of a run on unlike machines says so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.search.cluster.test_admission import NEW, OLD
from tests.search.fakes import SETTINGS, FakeScorer
from vkdnw.search.cluster.start_executor import Admission
from vkdnw.search.errors import StateWarning
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.search_space import settings_of
from vkdnw.search.state.store import open_store
from vkdnw.search.tasks import Asked, Task


def test_every_table_of_a_mixed_run_says_so(
    tmp_path: Path, vkdnw: Callable[..., tuple[int, str, str]]
) -> None:
    run, truth = tmp_path / "run", tmp_path / "truth.csv"
    cells = nb201.live()[:4]
    truth.write_text("\n".join(["arch,cifar10", *(f"{c},{60 + i}" for i, c in enumerate(cells))]))
    with open_store(run) as store:
        store.begin({**SETTINGS, **settings_of(nb201.NB201())}, {}, {0: {"batch": "digest"}})
        for machine in (NEW, OLD):
            assert Admission(store, mixed=True)(machine) is None
        store.ask([Asked(cell, cell) for cell in cells], [0], ["vkdnw"])
        tasks = [Task(cell, 0) for cell in cells]
        store.record([(task, FakeScorer()(task)) for task in tasks])
    for words in (
        ("top", run),
        ("evaluate", run, "--truth", truth),
        ("compare", run, run),
        ("export", run, "--out", tmp_path / "scores.csv"),
        ("report", run, "--out", tmp_path / "page.html"),
    ):
        with pytest.warns(StateWarning, match="2 kinds of machines scored; they differ in the"):
            code, _, told = vkdnw(*words)
        assert code == 0, told
    assert "2 kinds, which differ in the last bits" in (tmp_path / "page.html").read_text()
