"""Evolution under latencies from a table: exact ones, and those of a regression."""

import math
from random import Random

import pandas as pd
import pytest

from tests.shared import DATA, needs_data
from vkdnw.search.errors import ArgumentError
from vkdnw.search.evolution import latency_table
from vkdnw.search.evolution.budget import Budget
from vkdnw.search.evolution.latency_table import LatencyTable, load
from vkdnw.search.spaces.mnasnet import MnasNet
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.spaces.nb_macro import NBMacro

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
    from vkdnw import search

    return search.evolve(
        SPACE,
        tmp_path / "run",
        evaluations=12,
        rank_by=("flops", "grad_norm"),
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
    from vkdnw.search.errors import RunError

    evolve(tmp_path, table, latency=4.0)
    table.write_text(table.read_text().replace(",7.0", ",6.5"))
    with pytest.raises(RunError, match="latency_table"):
        evolve(tmp_path, table, latency=4.0)


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
    few = LatencyTable("phone", "", {}, {"00000000": 1.0})
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
