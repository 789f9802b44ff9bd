"""The command among hostile names, closed streams and full disks: one line, and no harm."""

import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from vkdnw.search.cli import app, console
from vkdnw.search.cli.exit_codes import run
from vkdnw.search.control_characters import printable
from vkdnw.search.rankings.exported_scores import write
from vkdnw.search.tasks import Evaluation

VKDNW = [sys.executable, "-c", "from vkdnw.search.cli import main; main()"]
HOSTILE = "\x1b]0;title\x07\x1b[31mred\x9b2J\u202egnp"


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """A table whose names command a terminal."""
    path = tmp_path / "scores.csv"
    names = [f"{HOSTILE} {number}" for number in range(3)]
    write(path, [Evaluation(n, n, 0, {f"{HOSTILE}v": 1.0, "vkdnw": 2.0}, (), 0.0) for n in names])
    return path


def commands(text: str) -> set[str]:
    """The characters in a text that a terminal would obey."""
    return {c for c in text if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0}


def test_what_commands_a_terminal_is_spelt_out() -> None:
    assert printable("a\x1b[31mb\x7f\x9b\u202e\tc\n") == "a\\x1b[31mb\\x7f\\x9b\\u202e\tc\n"
    assert printable("plain \u00e9 \u4e2d") == "plain \u00e9 \u4e2d"


def test_names_of_strangers_do_not_command_the_terminal(scores: Path, capsys) -> None:
    assert run(app, ["top", str(scores), "--by", "vkdnw"]) == 0
    shown = capsys.readouterr()
    assert "\\x1b[31mred" in shown.out
    assert not commands(shown.out + shown.err)
    assert run(app, ["top", str(scores), "--by", HOSTILE]) != 0
    assert run(app, ["top", f"{scores}{HOSTILE}"]) != 0
    assert run(app, ["evaluate", str(scores), "--truth", HOSTILE]) != 0
    shown = capsys.readouterr()
    assert not commands(shown.out + shown.err)
    assert "\u202e" not in shown.err


def test_tables_and_titles_are_spelt_out_too(capsys) -> None:
    shown = Table(title=HOSTILE)
    shown.add_column(HOSTILE)
    shown.add_row(HOSTILE)
    out = console.stdout()
    out.print(shown)
    console.print_line(out, HOSTILE)
    console.say(HOSTILE)
    told = capsys.readouterr()
    assert not commands(told.out + told.err)


@pytest.mark.parametrize("out", ["", " "])
@pytest.mark.parametrize("space", ["nb201", "mobilenetv2"])
def test_an_empty_folder_is_wrong_usage(tmp_path: Path, monkeypatch, capsys, out, space) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(app, ["search", space, "--out", out]) == 2
    assert "it is empty; name a folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_limit_is_wrong_usage(capsys) -> None:
    assert run(app, ["--limit", "rows=5", "proxies"]) == 2
    assert "no limit is called 'rows'" in capsys.readouterr().err


def test_a_limit_is_raised_by_its_option(scores: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("VKDNW_LIMITS", "table-columns=2")
    assert run(app, ["top", str(scores), "--by", "vkdnw"]) != 0
    assert "--limit table-columns=N" in capsys.readouterr().err
    assert run(app, ["--limit", "table-columns=9", "top", str(scores), "--by", "vkdnw"]) == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_do_no_harm(scores: Path, closed: str) -> None:
    """The first file opened does not get the number of a stream, and no output."""
    line = f'"$@" {closed}'
    command = ["sh", "-c", line, "sh", *VKDNW, "top", str(scores), "--by", "vkdnw"]
    before = scores.read_bytes()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert scores.read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_takes_nothing_is_told_in_one_line(scores: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*VKDNW, "top", str(scores), "--by", "vkdnw"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr
