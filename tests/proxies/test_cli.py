"""`vkdnw proxies` lists every score with its inputs."""

from __future__ import annotations

import json

import pytest

from vkdnw import proxies
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run


def test_json_has_every_proxy_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["proxies", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == list(proxies.names())
    zico = next(row for row in rows if row["name"] == "zico")
    assert (zico["input"], zico["labels"], zico["batches"]) == ("images", "real", 2)
    assert all(row["title"] and row["reference"] and row["undefined"] for row in rows)


def test_the_table_has_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["proxies"]) == 0
    out = capsys.readouterr().out
    first_words = {line.split(" ")[0] for line in out.splitlines()}
    assert set(proxies.names()) <= first_words
