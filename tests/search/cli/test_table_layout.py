"""Tables at any width: no number is cut, and a text that has no room stands whole below."""

import io
import re

import pytest
from rich.console import Console

from vkdnw.search.cli import table_layout
from vkdnw.search.cli.command_output import Column, Section, number, text, value

ARCH = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|avg_pool_3x3~0|skip_connect~1|none~2|"
NAMES = [f"value_{k}" for k in range(12)]
ROWS = [
    {
        "rank": place,
        "architecture": f"{ARCH}{place}",
        "flops": 123456789.0 * place,
        **{name: 1000.0 * k + place + 0.1234 for k, name in enumerate(NAMES)},
    }
    for place in (1, 2, 3)
]
COLUMNS = [
    number("rank", "#", "{:.0f}"),
    text("architecture"),
    value("flops"),
    *(number(name) for name in NAMES),
]


def shown(section: Section, width: int) -> list[str]:
    out = io.StringIO()
    table_layout.show(
        Console(file=out, width=width, force_terminal=True, color_system=None), section
    )
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_number_is_cut(width: int) -> None:
    lines = shown(Section(ROWS, COLUMNS), width)
    words = set(" ".join(lines).split())
    for row in ROWS:
        for column in COLUMNS:
            assert column.text or column.cell(row) in words
    assert not any("…" in line for line in lines)
    tables = [line for line in lines if ARCH not in line]
    assert max(map(len, tables)) <= width


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_an_architecture_is_whole_and_on_one_line(width: int) -> None:
    lines = shown(Section(ROWS, COLUMNS[:5]), width)
    for row in ROWS:
        (line,) = [line for line in lines if row["architecture"] in line]
        assert line.split()[0] == str(row["rank"])


def test_a_table_in_parts_has_its_keys_in_each() -> None:
    lines = shown(Section(ROWS, [COLUMNS[0], *COLUMNS[2:]]), 60)
    headings = [line for line in lines if line.split() and line.split()[0] == "#"]
    assert len(headings) > 1
    assert all(len(line) <= 60 for line in lines)


def test_a_key_that_is_too_long_is_shortened_and_told_whole() -> None:
    rows = [{"model": "a.very.long.package.name:" + "factory_" * 6, "a": 1.5, "b": 2.25, "c": 3.0}]
    columns = [text("model"), *(number(name) for name in "abc")]
    lines = shown(Section(rows, columns), 60)
    assert any("…" in line and "1.5000" in line and "3.0000" in line for line in lines)
    assert any(line.endswith(rows[0]["model"]) for line in lines)


def test_what_looks_like_markup_or_an_emoji_is_printed_as_it_is() -> None:
    rows = [{"model": "[bold]package[/]:factory:", "a": 1.0}]
    section = Section(rows, [text("model"), number("a")], "[red]title[/] :smile:")
    told = "\n".join(shown(section, 80))
    assert "[bold]package[/]:factory:" in told
    assert "[red]title[/] :smile:" in told


def test_plain_lines_are_whole_and_aligned() -> None:
    lines = table_layout.plain(Section(ROWS, COLUMNS, "title"))
    assert lines[0] == "title"
    assert len(lines) == 2 + len(ROWS)
    assert len({len(line) for line in lines[1:]}) == 1
    for line, row in zip(lines[2:], ROWS, strict=True):
        assert re.split(r"\s{2,}", line.strip()) == [column.cell(row) for column in COLUMNS]


def test_what_is_not_finite_is_told() -> None:
    columns: list[Column] = [number("a"), number("b"), number("c", unit=1e6)]
    cells = [column.cell({"a": float("nan"), "c": float("-inf")}) for column in columns]
    assert cells == ["nan", "", "-inf"]
