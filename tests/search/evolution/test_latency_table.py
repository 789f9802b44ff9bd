"""Evolution under latencies from a table: exact ones, and those of a regression."""

import math
import tomllib
from random import Random

import pandas as pd
import pytest

from tests.shared import DATA, needs_data
from vkdnw import search
from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run as command
from vkdnw.search.errors import ArgumentError
from vkdnw.search.evolution import latency_table
from vkdnw.search.evolution.budget import Budget
from vkdnw.search.evolution.latency_table import LatencyTable, load
from vkdnw.search.spaces.mnasnet import MnasNet
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.spaces.nb_macro import NBMacro
from vkdnw.search.state.store import open_store

SPACE = NBMacro(channels=4, classes=3, resolution=8)
HW = "hw_nas_bench_cifar10.csv.gz"


@pytest.fixture
def table(tmp_path):
    """A millisecond for every layer that computes something; some are not known."""
    rows = [
        {"arch": arch, "phone": 8.0 - arch.count("0")}
        for arch in SPACE.architectures()
        if SPACE.canonical(arch) == arch
    ]
    rows[5]["phone"] = -1.0
    rows[6]["phone"] = math.nan
    path = tmp_path / "latencies.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture
def short_table(table):
    """Every fortieth row, so that a regression is fitted in no time."""
    pd.read_csv(table, dtype={"arch": str}).iloc[::40].to_csv(table, index=False)
    return table


def test_equal_networks_have_one_latency_in_seconds(table):
    tell = load(table, "phone", SPACE).teller(SPACE)
    assert tell("22212202").latency == tell("22212220").latency == pytest.approx(0.007)
    assert tell("22212202").flops == SPACE.cost("22212202").flops


def test_what_a_device_does_not_have_is_out_of_every_search(table):
    missing = [arch for arch in SPACE.architectures() if SPACE.canonical(arch) == arch][5:7]
    tell = load(table, "phone", SPACE).teller(SPACE)
    for architecture in missing:
        assert tell(architecture).latency == math.inf
        assert not Budget().admits(tell(architecture))
    assert Budget(latency=0.007).admits(tell("22212220"))
    assert not Budget(latency=0.0069).admits(tell("22212220"))


def evolve(tmp_path, table, **options):
    return search.evolve(
        SPACE,
        tmp_path / "run",
        evaluations=12,
        rank_by=("flops", "synflow"),
        batch_size=2,
        population=4,
        in_flight=1,
        workers=0,
        progress=False,
        latency_table=table,
        **{"latency_column": "phone", **options},
    )


@pytest.mark.parametrize("how", [{"latency": 4.0}, {"pareto": "latency"}, {"flops": "100M"}])
def test_evolution_keeps_to_the_table(tmp_path, table, how):
    run = evolve(tmp_path, table, **how)
    found = run.history()
    assert len(found) == 12
    layers = [8 - SPACE.canonical(arch).count("0") for arch in found["architecture"]]
    assert found["latency"].tolist() == pytest.approx([one / 1000 for one in layers])
    if "latency" in how:
        assert max(layers) <= 4
    assert run.settings["latency_table"].startswith("phone of ")
    again = evolve(tmp_path, table, **how)
    assert again.history()["architecture"].tolist() == found["architecture"].tolist()


def test_another_table_is_another_search(tmp_path, table):
    evolve(tmp_path, table, latency=4.0)
    table.write_text(table.read_text().replace(",7.0", ",6.5"))
    with pytest.raises(search.RunError, match="latency_table"):
        evolve(tmp_path, table, latency=4.0)


class Stop(Exception):
    """Ends a search in the middle."""


def stopped(tmp_path, table, **options):
    """A search that was stopped after five of its twelve networks."""
    told = []

    def stop(result):
        told.append(result)
        if len(told) == 5:
            raise Stop

    with pytest.raises(Stop):
        evolve(tmp_path, table, on_result=stop, **options)
    return tmp_path / "run"


def test_a_stopped_search_is_resumed_with_its_table(tmp_path, table):
    whole = evolve(tmp_path / "whole", table, latency=4.1).history()
    part = stopped(tmp_path, table, latency=4.1)
    assert command(app, ["resume", str(part), "--workers", "0"]) == 0
    assert search.open(part).history().equals(whole)


def test_a_stopped_search_is_resumed_with_the_regression(tmp_path, short_table):
    how = {"pareto": "latency", "latency_fit": True}
    whole = evolve(tmp_path / "whole", short_table, **how).history()
    part = stopped(tmp_path, short_table, **how)
    assert command(app, ["resume", str(part), "--workers", "0"]) == 0
    assert search.open(part).history().equals(whole)


def test_a_table_that_was_moved_is_named_to_go_on(tmp_path, table, capsys):
    whole = evolve(tmp_path / "whole", table, latency=4.0).history()
    part = stopped(tmp_path, table, latency=4.0)
    moved = table.rename(tmp_path / "moved.csv")
    assert command(app, ["resume", str(part), "--workers", "0"]) == 2
    assert "latencies.csv is not a regular file" in capsys.readouterr().err
    go_on = ["resume", str(part), "--workers", "0", "--latency-table"]
    other = tmp_path / "other.csv"
    other.write_text(moved.read_text().replace(",7.0", ",6.5"))
    assert command(app, [*go_on, str(other)]) == 1
    assert "latency_table" in capsys.readouterr().err
    assert command(app, [*go_on, str(moved)]) == 0
    assert search.open(part).history().equals(whole)


def test_a_run_without_a_table_takes_none(tmp_path, table, capsys):
    run = evolve(tmp_path, None, latency_column=None, flops="100M")
    assert command(app, ["resume", str(run.folder), "--latency-table", str(table)]) == 2
    assert "was given no table of latencies" in capsys.readouterr().err


def test_a_configuration_names_the_table(tmp_path, short_table, capsys):
    run = evolve(tmp_path, short_table, latency=4.1, latency_fit=True)
    assert command(app, ["config", str(run.folder), "--out", str(tmp_path / "run.toml")]) == 0
    written = tomllib.loads((tmp_path / "run.toml").read_text())
    assert (written["latency"], written["latency_column"]) == (4.1, "phone")
    assert (written["latency_table"], written["latency_fit"]) == (str(short_table), True)
    again = ["search", "--config", str(tmp_path / "run.toml"), "--out", str(tmp_path / "again")]
    assert command(app, [*again, "--workers", "0"]) == 0
    assert search.open(tmp_path / "again").history().equals(run.history())


def test_a_run_that_did_not_record_where_its_table_lay_says_what_to_do(tmp_path, table):
    """As those that were begun before it was recorded."""
    run = evolve(tmp_path, table, latency=4.0)
    forget_the_file(run.folder)
    with pytest.raises(search.RunError, match="give the whole command again, with --latency-table"):
        run.arguments()
    assert evolve(tmp_path, table, latency=4.0).history().equals(run.history())


def forget_the_file(run):
    with open_store(run) as store:
        settings = dict(search.open(run).settings)
        del settings["latency_file"]
        store.begin(settings, {}, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latency_column": None}, "name one of its columns as latency_column"),
        ({"latency_column": "watch"}, "no device figure 'watch'; it has phone"),
        ({"latency_table": None}, "are of a latency_table; name one"),
    ],
)
def test_what_is_not_said_or_not_there_is_refused(tmp_path, table, options, message):
    with pytest.raises(ArgumentError, match=message):
        evolve(tmp_path, options.pop("latency_table", table), **options)


def test_a_table_of_other_networks_only_needs_a_regression(table):
    few = LatencyTable("few.csv", "phone", "", {}, {"00000000": 1.0})
    with pytest.raises(ValueError, match=r"of 2,000 networks drawn, none is .*--latency-fit"):
        latency_table.check_covers(few, lambda: "11111111", SPACE)


def test_a_regression_stands_in_and_tells_its_error(table, tmp_path):
    part = pd.read_csv(table, dtype={"arch": str}).iloc[::4]
    part.to_csv(tmp_path / "part.csv", index=False)
    found = load(tmp_path / "part.csv", "phone", SPACE, fit=True)
    assert found.fitted is not None
    assert found.fitted.error < 0.02
    tell, random = found.teller(SPACE), Random(0)
    for _ in range(20):
        architecture = SPACE.sample(random)
        true = (8 - SPACE.canonical(architecture).count("0")) / 1000
        assert tell(architecture).latency == pytest.approx(true, rel=0.25)


@needs_data
def test_published_figures_are_seconds():
    raw = pd.read_csv(DATA / HW).iloc[100]
    found = load(DATA / HW, "pixel3_latency.cifar10", NB201())
    told = found.teller(NB201())(raw["arch"]).latency
    assert told == pytest.approx(raw["pixel3_latency.cifar10"] / 1000)
    with pytest.raises(ValueError, match="is no time: energy in millijoules"):
        load(DATA / HW, "edgegpu_energy.cifar10", NB201())
    anb = pd.read_csv(DATA / "mnasnet_imagenet.csv.gz")
    anb = anb.drop_duplicates("arch", keep=False).iloc[7]
    images = load(DATA / "mnasnet_imagenet.csv.gz", "throughput_a100", MnasNet())
    assert images.seconds[anb["arch"]] == pytest.approx(1 / anb["throughput_a100"])
