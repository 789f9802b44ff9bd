"""A run that nothing happened to."""

import shutil
from pathlib import Path

import pytest

from tests.search.fakes import FakeRun, rows
from tests.search.faults.running import COUNT, Rows, finish


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to: one process, one go. To be copied, not touched."""
    folder = tmp_path_factory.mktemp("finished")
    finish(FakeRun(str(folder), COUNT, workers=0))
    return folder


@pytest.fixture(scope="module")
def undisturbed(finished: Path) -> Rows:
    """The record of such a run."""
    return rows(finished)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished run to damage."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))
