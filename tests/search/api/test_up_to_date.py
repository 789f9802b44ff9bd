"""Whether a run already has everything that a call asks for."""

from pathlib import Path

import pytest

from tests.search.fakes import FakeRun
from vkdnw.search.api.up_to_date import is_up_to_date
from vkdnw.search.configuration import Json
from vkdnw.search.enumeration import score_all
from vkdnw.search.progress import Silent
from vkdnw.search.state.results import open_results
from vkdnw.search.stop_signals import Interruption


def settings_of_a_run(folder: Path, **settings: Json) -> dict[str, Json]:
    run = FakeRun(str(folder), count=3, workers=0, settings=settings)
    score_all(run.request(), Silent(), Interruption())
    with open_results(folder) as results:
        return results.settings()


def test_a_call_like_the_last_one_is_and_a_larger_one_is_not(tmp_path: Path) -> None:
    settings = settings_of_a_run(tmp_path, proxies="vkdnw")
    assert is_up_to_date(tmp_path, settings)
    assert is_up_to_date(tmp_path, {**settings, "workers": 7})
    assert not is_up_to_date(tmp_path, {**settings, "proxies": "vkdnw,synflow"})
    assert not is_up_to_date(tmp_path / "none", settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("proxies", "all"), ("data", "images"), ("images", "images"), ("architectures", "3 listed")],
)
def test_settings_whose_meaning_may_change_never_are(tmp_path: Path, name: str, value: str) -> None:
    assert not is_up_to_date(tmp_path, settings_of_a_run(tmp_path, **{name: value}))
