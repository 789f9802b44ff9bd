"""Completion with Tab, as a shell asks for it."""

from pathlib import Path

import pytest
from typer._completion_classes import BashComplete
from typer.main import get_command

from vkdnw import search
from vkdnw.proxies import PROXIES
from vkdnw.search.cli import app
from vkdnw.search.spaces import registry

SMALL = {"cells": 1, "channels": 4, "resolution": 8, "batch_size": 2}


def offered(line: str) -> list[str]:
    """For the last word of a command line, which may be empty."""
    *words, incomplete = line.split(" ")
    shell = BashComplete(get_command(app), {}, "vkdnw", "_VKDNW_COMPLETE")
    return [item.value for item in shell.get_completions(words[1:], incomplete)]


def test_commands_and_spaces() -> None:
    assert offered("vkdnw ev") == ["evaluate"]
    assert offered("vkdnw search ") == [*registry.names(), "custom"]
    assert offered("vkdnw search nats") == ["nats_sss"]
    assert offered("vkdnw evaluate runs/a --space autof") == [
        "autoformer_t",
        "autoformer_s",
        "autoformer_b",
    ]


def test_the_sizes_of_a_space() -> None:
    assert "--channels" in offered("vkdnw search nb201 --ch")
    assert "--target-resolution" in offered("vkdnw search mobilenetv2 --ta")


@pytest.mark.parametrize(
    "command",
    ["search nb201 --proxies", "search nb201 --rank-by", "score torchvision:vgg11 --proxies"],
)
def test_names_of_proxies_also_within_a_list(command: str) -> None:
    assert set(offered(f"vkdnw {command} ")) >= {*PROXIES, "vkdnw_agg", "all"}
    assert offered(f"vkdnw {command} synf") == ["synflow"]
    assert offered(f"vkdnw {command} zico,synf") == ["zico,synflow"]
    assert "zico,zico" not in offered(f"vkdnw {command} zico,z")
    assert offered(f"vkdnw {command} nothing_like_it") == []


def test_what_a_run_has_on_record(tmp_path: Path) -> None:
    search.enumerate(
        "nb201", tmp_path / "run", sample=2, proxies="synflow", workers=0, progress=False, **SMALL
    )
    for command in ("top", "export", "report", "compare"):
        assert offered(f"vkdnw {command} {tmp_path / 'run'} --by syn") == ["synflow"]
    names = offered(f"vkdnw top {tmp_path / 'run'} --by ")
    assert {"flops", "layers", "parameters", "synflow", "vkdnw_agg"} <= set(names)
    assert "zico" not in names
    assert offered(f"vkdnw evaluate {tmp_path / 'run'} --ranking fl") == ["flops", "flow_agg"]


def test_without_a_run_only_what_every_run_could_have() -> None:
    assert "vkdnw_agg" in offered("vkdnw top no_such_run --by ")
    assert "flops" not in offered("vkdnw top --by fl")


def test_columns_of_tables(tmp_path: Path) -> None:
    table = tmp_path / "latencies.csv"
    table.write_text("arch,phone,watch\n00000000,1.0,2.0\n")
    search_it = "vkdnw search nb_macro --latency-table"
    assert offered(f"{search_it} {table} --latency-column ") == ["phone", "watch"]
    assert offered(f"{search_it} {table} --latency-column w") == ["watch"]
    assert offered(f"{search_it} {tmp_path / 'none.csv'} --latency-column ") == []
    assert offered(f"vkdnw evaluate runs/a --truth {table} --dataset p") == ["phone"]
