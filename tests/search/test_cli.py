"""The command: its output, its streams, and its exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.search.fakes import rows, wait_until
from tests.search.faults.running import at_a_terminal
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run
from vkdnw.search.errors import StoreError
from vkdnw.search.rankings.best_networks import Ranked, rank
from vkdnw.search.spaces import nb201
from vkdnw.search.state.results import open_results

TINY = [
    *("--batch-size", "4", "--resolution", "8"),
    *("--channels", "4", "--cells", "1", "--classes", "3"),
]
SAMPLE = [*TINY, "--sample", "6", "--live", "--workers", "0"]
COMMAND = [sys.executable, "-P", "-c", "from vkdnw.search.cli import main; main()"]

Output = tuple[int, str, str]
Vkdnw = Callable[..., Output]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    assert run(app, ["search", "nb201", "--out", str(folder), *SAMPLE, "--seeds", "2"]) == 0
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_search_prints_a_summary_and_a_table_on_stdout(vkdnw: Vkdnw, copied: Path) -> None:
    code, out, err = vkdnw("search", "nb201", "--out", copied, *SAMPLE, "--seeds", 2)
    assert code == 0
    assert err == ""
    assert out.startswith(f"{copied}: 6 architectures, 6 different networks")
    assert "12 of 12 scored under 2 seed(s)" in out
    best = ranked(copied)[0]
    assert best.architecture in out
    assert f"{best.values['single']:.4f}" in out
    assert "+-" in out
    assert "MFLOPs" in out


def ranked(folder: Path) -> list[Ranked]:
    with open_results(folder) as results:
        return rank(results.evaluations())


def test_progress_goes_to_stderr_so_that_stdout_is_json(vkdnw: Vkdnw, tmp_path: Path) -> None:
    code, out, err = vkdnw("search", "nb201", "--out", tmp_path, *SAMPLE, "--json")
    assert code == 0
    assert "6/6" in err
    found = json.loads(out)
    assert {*found} == {"command", "about", "rows"}
    about = found["about"]
    assert (about["architectures"], about["scored"], about["failures"]) == (6, 6, [])
    assert [row["rank"] for row in found["rows"]] == [1, 2, 3, 4, 5, 6]
    singles = [row["single"] for row in found["rows"]]
    assert singles == sorted(singles, reverse=True)
    assert all(row["single"] > row["layers"] for row in found["rows"])


def test_a_run_may_be_given_more_architectures_and_seeds(vkdnw: Vkdnw, copied: Path) -> None:
    before = rows(copied)
    more = [*TINY, "--sample", 8, "--live", "--workers", 0, "--seeds", 3]
    code, *_ = vkdnw("search", "nb201", "--out", copied, *more)
    assert code == 0
    assert before.items() <= rows(copied).items()
    assert len(rows(copied)) == 8 * 3


def test_another_configuration_is_refused_with_the_difference(vkdnw: Vkdnw, copied: Path) -> None:
    code, out, err = vkdnw("search", "nb201", "--out", copied, *SAMPLE, "--dtype", "float64")
    assert code == 1
    assert out == ""
    assert 'dtype: stored "float32", asked "float64"' in err
    assert len(err.splitlines()) == 1


def test_equal_architectures_share_a_row(vkdnw: Vkdnw, tmp_path: Path) -> None:
    equal = [a for a in nb201.enumerate() if nb201.canonical(a) == nb201.canonical(EQUAL)][:3]
    listed = [word for architecture in equal for word in ("--arch", architecture)]
    code, out, _ = vkdnw("search", "nb201", "--out", tmp_path, *TINY, "--workers", 0, *listed)
    assert code == 0
    assert "3 architectures, 1 different networks (2 equal to another" in out
    assert "+2" in out


EQUAL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("search nb201 --out RUN", "--sample N, --all or --arch"),
        ("search nb201 --out RUN --all --sample 3", "--sample N, --all or --arch"),
        ("search nb201 --out RUN --arch conv", "'conv'"),
        ("search nb201 --out RUN --sample 3 --scalars last", "scalars must be first[:TENSORS]"),
        ("search nb201 --out RUN --sample 3 --resolution 30", "multiples of 4"),
        ("search nb201 --out RUN --sample 3 --max-memory lots", "text such as '1GiB'"),
        ("search nb201 --out RUN --sample 20000", "1 to 15625 architectures"),
        ("search nb201 --sample 3", "--out"),
        ("search nb201 --out RUN --sample 3 --dtype float16", "float16"),
        ("search nb202", "nb202"),
        ("search", "Missing command"),
        ("top", "argument 'run'"),
        ("evaluate RUN", "--truth"),
    ],
)
def test_wrong_usage_is_one_line_on_stderr_and_exit_code_2(
    vkdnw: Vkdnw, tmp_path: Path, arguments: str, message: str
) -> None:
    words = [str(tmp_path / "run") if word == "RUN" else word for word in arguments.split()]
    code, out, err = vkdnw(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("vkdnw: ")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_without_a_subcommand_the_help_is_shown(vkdnw: Vkdnw) -> None:
    code, out, _ = vkdnw()
    assert code == 2
    assert all(name in out for name in ("search", "top", "evaluate", "doctor", "--version"))


def test_the_command_answers_without_loading_torch() -> None:
    """Loading it takes a second or two, which nobody waits for to read the help."""
    check = "import vkdnw.search.cli, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", check], check=False).returncode == 0


def test_version(vkdnw: Vkdnw) -> None:
    from importlib.metadata import version

    assert vkdnw("--version") == (0, f"vkdnw {version('vkdnw')}\n", "")


def test_top_of_no_run_is_a_failure(vkdnw: Vkdnw, tmp_path: Path) -> None:
    code, out, err = vkdnw("top", tmp_path)
    assert (code, out) == (1, "")
    assert f"{tmp_path} holds no run" in err
    code, _, err = vkdnw("--debug", "top", tmp_path)
    assert code == 1
    assert "Traceback" in err


@pytest.mark.parametrize("columns", [80, 200])
def test_an_architecture_is_never_broken_over_lines(
    vkdnw: Vkdnw, finished: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """It is there to be copied, from a narrow terminal too."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes this for a terminal
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = vkdnw("top", finished)
    assert all(row.architecture in out for row in ranked(finished))


def test_top_by_another_value(vkdnw: Vkdnw, finished: Path) -> None:
    code, out, _ = vkdnw("top", finished, "-n", 2, "--by", "flops", "--json")
    flops = [row["flops"] for row in json.loads(out)["rows"]]
    assert (code, len(flops)) == (0, 2)
    assert flops[0] >= flops[1]
    code, _, err = vkdnw("top", finished, "--by", "zen")
    assert code == 2
    assert "'zen'. Known are flops, layers, parameters, single, vkdnw" in err


def test_json_has_no_nan(vkdnw: Vkdnw, capsys: pytest.CaptureFixture[str]) -> None:
    from vkdnw.search.cli.console import print_json

    print_json({"a": float("nan"), "b": [float("-inf"), 0.1, None, True]})
    assert json.loads(capsys.readouterr().out) == {"a": "nan", "b": ["-inf", 0.1, None, True]}


@pytest.fixture
def truth(finished: Path, tmp_path: Path) -> Path:
    """Accuracies that agree with `single` on one data set and with nothing on the other."""
    order = [row.architecture for row in reversed(ranked(finished))]
    path = tmp_path / "truth.csv"
    lines = [f"{a},{50 + i},{50 + (i * 5) % 6}" for i, a in enumerate(order)]
    path.write_text("\n".join(["arch,agrees,scrambled", *lines]))
    return path


def test_evaluate_compares_every_value_with_every_data_set(
    vkdnw: Vkdnw, finished: Path, truth: Path
) -> None:
    code, out, _ = vkdnw("evaluate", finished, "--truth", truth, "--bootstrap", 20, "--json")
    assert code == 0
    results = {(r["ranking"], r["dataset"]): r for r in json.loads(out)["rows"]}
    values = ["layers", "flops", "parameters", "vkdnw", "single", "fisher_rank"]
    pairs = {(value, dataset) for value in values for dataset in ("agrees", "scrambled")}
    assert results.keys() == pairs
    perfect = results["single", "agrees"]
    assert perfect["kendall"] == pytest.approx(1.0)
    assert perfect["n"] == 6
    assert results["single", "scrambled"]["kendall"] < 1.0
    seeds = {(s["ranking"], s["dataset"]): s["seeds"] for s in json.loads(out)["more"]["seeds"]}
    assert seeds == dict.fromkeys(pairs, 2)


def test_evaluate_a_choice(vkdnw: Vkdnw, finished: Path, truth: Path) -> None:
    chosen = ["--dataset", "agrees", "--ranking", "single", "--bootstrap", 0]
    code, out, _ = vkdnw("evaluate", finished, "--truth", truth, *chosen)
    assert code == 0
    assert "1.000" in out
    assert "scrambled" not in out
    assert "flops" not in out
    wrong = {"--dataset": ("imagenet", "has no column"), "--ranking": ("zen", "is not known")}
    for option, (value, message) in wrong.items():
        code, _, err = vkdnw("evaluate", finished, "--truth", truth, option, value)
        assert code == 2
        assert repr(value) in err
        assert message in err


def test_plot_draws_a_run(vkdnw: Vkdnw, finished: Path, truth: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    chosen = ["--dataset", "agrees", "--ranking", "single", "--ranking", "flops"]
    code, out, err = vkdnw("plot", finished, "--truth", truth, "--out", folder, *chosen)
    assert (code, err) == (0, "")
    names = {"correlation.png", "ranks_agrees.png", "spectra_agrees.png", "cost_agrees.png"}
    assert {path.name for path in folder.iterdir()} == names
    assert set(out.split()) == {str(folder / name) for name in names}


def test_doctor_reports_as_json_too(vkdnw: Vkdnw) -> None:
    code, out, _ = vkdnw("doctor", "--json")
    report = json.loads(out)
    assert code == (1 if report["problems"] else 0)
    assert vkdnw("doctor")[1].startswith("vkdnw ")


def test_a_failing_scorer_is_told_and_is_a_failure(
    vkdnw: Vkdnw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vkdnw.search import scoring

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no kernel for this")

    monkeypatch.setattr(scoring.vkdnw, "score", refuse)
    code, out, err = vkdnw("search", "nb201", "--out", tmp_path, *SAMPLE)
    assert code == 1
    assert "6 failed" in out
    assert "ValueError: no kernel for this" in out
    assert "Traceback" not in err


def test_ctrl_c_leaves_a_run_and_says_how_to_go_on(tmp_path: Path) -> None:
    """The whole command at a terminal: the signal goes to every process of the session."""
    arguments = [
        "search",
        "nb201",
        "--out",
        str(tmp_path),
        *TINY,
        "--sample",
        "2000",
        "--workers",
        "2",
    ]
    process = at_a_terminal([*COMMAND, *arguments])
    try:
        wait_until(lambda: started(tmp_path), seconds=60)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Ctrl-C: finishing tasks in flight" in said
    assert f"vkdnw search nb201 --out {tmp_path}" in said
    assert "Traceback" not in said
    with open_results(tmp_path) as results:
        tally = results.tally()
    assert 0 < tally.scored < tally.tasks
    assert tally.failures == ()


def started(folder: Path) -> bool:
    try:
        with open_results(folder) as results:
            return results.tally().scored > 0
    except StoreError:
        return False
