"""A run's state keeps every bit, takes everything or nothing, and refuses another configuration."""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vkdnw.search.errors import ConfigurationDiffers, RunLocked, StoreError
from vkdnw.search.state.results import Results, open_results
from vkdnw.search.state.store import Store, open_store
from vkdnw.search.tasks import Asked, Failure, Scored, Task

SETTINGS = {"batch_size": 64, "dtype": "float32", "workers": 2, "data": None}
VERSIONS = {"torch": "2.13.0"}
DECILES = tuple(n / 10 for n in range(1, 10))
INPUTS = {0: {"batch": "digest of batch 0"}, 1: {"batch": "digest of batch 1"}}
ASKED = [Asked("a", "a", {"layers": 21}), Asked("b", "a", {"layers": 66}), Asked("c", "c")]


def scored(vkdnw: float = 1.5, **more: float) -> Scored:
    return Scored(
        values={"vkdnw": vkdnw, **more},
        started_at="2024-01-01T00:00:00.000+00:00",
        seconds=0.25,
        arrays={"deciles": DECILES},
    )


@contextmanager
def begun(folder: Path) -> Iterator[Store]:
    """A store in a session, with the architectures asked for."""
    with open_store(folder) as store:
        store.begin(SETTINGS, VERSIONS, INPUTS)
        store.ask(ASKED, list(INPUTS), ["vkdnw"])
        yield store


@contextmanager
def read(folder: Path) -> Iterator[Results]:
    with open_results(folder) as results:
        yield results


@pytest.mark.parametrize(
    "value", [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -math.inf, math.inf, 0.0, 2.0**53 + 2]
)
def test_every_bit_of_a_value_is_kept(tmp_path: Path, value: float) -> None:
    with begun(tmp_path) as store:
        store.record([(Task("c", 0), scored(value))])
    with read(tmp_path) as results:
        (evaluation,) = results.evaluations()
    assert evaluation.values["vkdnw"].hex() == value.hex()
    assert evaluation.deciles == DECILES
    assert evaluation.seconds == 0.25


def test_the_seconds_of_values_are_those_of_the_evaluations_they_came_from(tmp_path: Path) -> None:
    """The mean over networks that have them all; a task that gave two of the values counts once."""

    def evaluated(seconds: float, *names: str) -> Scored:
        return Scored(dict.fromkeys(names, 1.0), "now", seconds)

    with begun(tmp_path) as store:
        store.record([(Task("a", 0), evaluated(1.0, "vkdnw", "zen"))])
        store.record([(Task("a", 0), evaluated(4.0, "jacov"))])
        store.record([(Task("c", 0), evaluated(3.0, "vkdnw"))])
    with read(tmp_path) as results:
        assert results.seconds(["vkdnw"]) == results.seconds(["vkdnw", "flops"]) == (1.0 + 3.0) / 2
        assert results.seconds(["vkdnw", "zen"]) == results.seconds(["zen"]) == 1.0
        assert results.seconds(["vkdnw", "jacov"]) == 5.0
        assert math.isnan(results.seconds(["flops"]))


def test_an_undefined_value_is_kept_with_its_reason(tmp_path: Path) -> None:
    result = Scored({"jacov": math.nan}, "now", 0.0, reasons={"jacov": "a row is constant"})
    with begun(tmp_path) as store:
        store.record([(Task("c", 0), result)])
    with read(tmp_path) as results:
        (evaluation,) = results.evaluations()
    assert math.isnan(evaluation.values["jacov"])
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        assert connection.execute("SELECT value, reason FROM scores").fetchall() == [
            (None, "a row is constant")
        ]


def test_the_view_for_people_shows_what_was_asked_and_scored(tmp_path: Path) -> None:
    with begun(tmp_path) as store:
        store.record([(Task("a", 0), scored(1.5, zen=2.0))])
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        query = "SELECT architecture, network, seed, name, value, seconds FROM results ORDER BY 1"
        assert connection.execute(query).fetchall() == [
            ("a", "a", 0, "vkdnw", 1.5, 0.25),
            ("b", "a", 0, "vkdnw", 1.5, 0.25),
        ]


def test_an_undefined_value_without_a_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="'jacov' is NaN and no reason"):
        Scored({"jacov": math.nan}, "now", 0.0)


def test_one_evaluation_serves_every_architecture_that_is_the_same_network(tmp_path: Path) -> None:
    with begun(tmp_path) as store:
        store.record([(Task("a", 1), scored(1.5))])
    with read(tmp_path) as results:
        found = {e.architecture: e for e in results.evaluations()}
    assert found.keys() == {"a", "b"}
    assert found["a"].values == {"layers": 21.0, "vkdnw": 1.5, "single": 22.5}
    assert found["b"].values == {"layers": 66.0, "vkdnw": 1.5, "single": 67.5}
    assert {e.seed for e in found.values()} == {1}


def test_values_of_another_proxy_may_be_added_later(tmp_path: Path) -> None:
    with begun(tmp_path) as store:
        store.record([(Task("c", 0), scored(1.5))])
    with begun(tmp_path) as store:
        assert store.recorded() == {("c", 0): {"vkdnw"}}
        store.record([(Task("c", 0, ("naswot",)), Scored({"naswot": 7.0}, "later", 2.0))])
        assert store.recorded() == {("c", 0): {"vkdnw", "naswot"}}
    with read(tmp_path) as results:
        (evaluation,) = results.evaluations()
    assert evaluation.values == {"vkdnw": 1.5, "naswot": 7.0}
    assert evaluation.seconds == 2.25


def test_a_transaction_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    with begun(tmp_path) as store:
        twice = [(Task("a", 0), scored()), (Task("c", 0), scored()), (Task("a", 0), scored())]
        with pytest.raises(StoreError, match="UNIQUE constraint"):
            store.record(twice)
        assert store.recorded() == {}
        store.record(twice[:2])
        assert store.recorded() == {("a", 0): {"vkdnw"}, ("c", 0): {"vkdnw"}}


def test_what_was_recorded_is_seen_by_readers_while_the_writer_goes_on(tmp_path: Path) -> None:
    with begun(tmp_path) as store:
        for seed in (0, 1):
            store.record([(Task("c", seed), scored())])
            with read(tmp_path) as results:
                assert len(results.evaluations()) == seed + 1


def test_every_difference_of_configuration_is_named(tmp_path: Path) -> None:
    with begun(tmp_path):
        pass
    asked = {**SETTINGS, "batch_size": 8, "dtype": "float64"}
    with open_store(tmp_path) as store, pytest.raises(ConfigurationDiffers) as refusal:
        store.begin(asked, VERSIONS, INPUTS)
    assert "batch_size: stored 64, asked 8" in str(refusal.value)
    assert 'dtype: stored "float32", asked "float64"' in str(refusal.value)
    assert "workers" not in str(refusal.value)
    assert str(tmp_path) in str(refusal.value)


def test_free_settings_may_differ(tmp_path: Path) -> None:
    with begun(tmp_path):
        pass
    with open_store(tmp_path) as store:
        store.begin({**SETTINGS, "workers": 8, "data": "moved.npz"}, VERSIONS, INPUTS)


def test_other_input_is_refused_with_its_source_and_digest(tmp_path: Path) -> None:
    with begun(tmp_path):
        pass
    asked = {**SETTINGS, "data": "cifar.npz"}
    with open_store(tmp_path) as store, pytest.raises(ConfigurationDiffers) as refusal:
        store.begin(asked, VERSIONS, {1: {"batch": "another digest"}, 2: {"batch": "new"}})
    assert 'data: stored null, asked "cifar.npz"' in str(refusal.value)
    assert 'batch of seed 1: stored "digest of batch 1", asked "another digest"' in str(
        refusal.value
    )


def test_a_refused_command_leaves_no_trace(tmp_path: Path) -> None:
    with begun(tmp_path):
        pass
    before = (tmp_path / "state.sqlite").read_bytes()
    with open_store(tmp_path) as store, pytest.raises(ConfigurationDiffers):
        store.begin({**SETTINGS, "dtype": "float64"}, VERSIONS, {2: {"batch": "new"}})
    assert (tmp_path / "state.sqlite").read_bytes() == before


def test_versions_that_changed_are_told(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert store.begin(SETTINGS, VERSIONS, INPUTS) == []
    with open_store(tmp_path) as store:
        assert store.begin(SETTINGS, {"torch": "2.14.0"}, INPUTS) == [
            'torch: stored "2.13.0", asked "2.14.0"'
        ]


def test_asking_again_and_for_more_adds_only_what_is_new(tmp_path: Path) -> None:
    with begun(tmp_path) as store:
        store.record([(Task("a", 0), scored())])
        store.ask([*ASKED, Asked("d", "a")], [0], ["vkdnw"])
    with read(tmp_path) as results:
        assert [(e.architecture, e.seed) for e in results.evaluations()] == [
            ("a", 0),
            ("b", 0),
            ("d", 0),
        ]
        tally = results.tally()
    assert (tally.architectures, tally.networks, tally.seeds) == (4, 2, 2)
    assert (tally.tasks, tally.scored) == (4, 1)


def test_a_task_is_scored_when_every_value_asked_of_it_is_on_record(tmp_path: Path) -> None:
    with begun(tmp_path) as store:
        store.ask(ASKED, [0], ["vkdnw", "jacov"])
        store.record([(Task("a", 0), scored()), (Task("c", 0), scored(jacov=-16.0))])
        assert store.recorded() == {("a", 0): {"vkdnw"}, ("c", 0): {"vkdnw", "jacov"}}
    with read(tmp_path) as results:
        assert (results.tally().tasks, results.tally().scored) == (4, 1)
        assert len(results.evaluations()) == 3  # the values of a and its equal b are shown


def test_a_failure_is_open_until_a_later_session_scores_the_task(tmp_path: Path) -> None:
    with begun(tmp_path) as store:
        store.record(failed=[(Task("c", 0), Failure("ValueError: once", "Traceback"))])
    with begun(tmp_path) as store:
        store.record(failed=[(Task("c", 0), Failure("ValueError: twice"))])
        assert store.failed() == {("c", 0)}
    with read(tmp_path) as results:
        (failure,) = results.tally().failures
    assert (failure.network, failure.seed, failure.tries) == ("c", 0, 2)
    assert failure.reason == "ValueError: twice"
    with begun(tmp_path) as store:
        store.record([(Task("c", 0), scored())])
    with read(tmp_path) as results:
        assert results.tally().failures == ()


def test_a_second_writer_is_refused_by_the_pid_of_the_first(tmp_path: Path) -> None:
    import os

    with (
        begun(tmp_path),
        pytest.raises(RunLocked, match=f"another runner, pid {os.getpid()};"),
        open_store(tmp_path),
    ):
        pass
    with begun(tmp_path):
        pass  # free again


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"), open_store(tmp_path / "run"):
        pass


def test_reading_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"), open_results(tmp_path):
        pass


def test_a_foreign_sqlite_file_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(StoreError, match="no state of a run"), open_store(tmp_path):
        pass


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    with begun(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="schema version 99"), open_store(tmp_path):
        pass


def test_commits_are_synced_and_journalled(tmp_path: Path) -> None:
    """The settings behind the guarantee against power loss; a power loss itself cannot be tested
    here."""
    with begun(tmp_path) as store:
        connection = store._connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
