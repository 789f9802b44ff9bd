"""The published tables: each is recognised and read for its spaces."""

import pandas as pd
import pytest

from tests.shared import DATA, needs_data
from vkdnw.search.published_tables.catalogue import TABLES
from vkdnw.search.published_tables.table import recognise
from vkdnw.search.rankings import truth
from vkdnw.search.rankings.truth import TruthError
from vkdnw.search.spaces import registry
from vkdnw.search.spaces.autoformer import AutoFormerT

READ = {
    "nats_tss_test_accuracy.csv.gz": ("nb201", 15_625, ["cifar10", "cifar100", "ImageNet16-120"]),
    "nasbench101_sample.csv.gz": ("nb101", 20_000, ["test_accuracy"]),
    "transnas101_micro.csv.gz": (
        "transnas_micro",
        4_096,
        ["class_scene", "jigsaw", "autoencoder"],
    ),
    "transnas101_macro.csv.gz": (
        "transnas_macro",
        3_256,
        ["class_scene", "jigsaw", "autoencoder"],
    ),
    "mnasnet_imagenet.csv.gz": ("mnasnet", 5_125, ["top1"]),
    "nb_macro_cifar10.csv.gz": ("nb_macro", 6_561, ["test_accuracy"]),
}


@needs_data
@pytest.mark.parametrize("file", READ)
def test_published_tables_are_read_for_their_space(file):
    name, rows, columns = READ[file]
    loaded = truth.load(DATA / file, registry.space(name))
    assert (len(loaded), list(loaded.columns)) == (rows, columns)
    assert not loaded.index.has_duplicates
    for architecture in loaded.index[:: len(loaded) // 20]:
        registry.space(name).validate(architecture)


@needs_data
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.file)
def test_every_table_is_recognised_by_its_columns(table):
    for file in table.file.split(", "):
        read = pd.read_csv(DATA / file, dtype=str)
        assert recognise(read.columns, TABLES) is table
        assert len(read) in table.rows


def test_a_table_of_ones_own_is_not_recognised():
    assert recognise(["arch", "cifar10"], TABLES) is None


@needs_data
def test_trained_twice_is_averaged():
    raw = pd.read_csv(DATA / "mnasnet_imagenet.csv.gz")
    twice = raw[raw["arch"].duplicated(keep=False)].groupby("arch")["top1"]
    loaded = truth.load(DATA / "mnasnet_imagenet.csv.gz")["top1"]
    assert len(twice) == 13
    pd.testing.assert_series_equal(loaded[list(twice.groups)], twice.mean(), check_names=False)


@needs_data
def test_auto_proxs_accuracies_go_with_the_network_they_were_measured_on():
    """Three networks share AutoFormer's encoding."""
    path = DATA / "vit_autoprox.csv.gz"
    scratch = truth.load(path, AutoFormerT(network="autoprox"))
    assert len(scratch) == 200
    assert list(scratch.columns) == [
        f"{data}_{how}_acc" for data in ("c100", "flower", "chaoyang") for how in ("base", "kd")
    ]
    supernet = truth.load(path, AutoFormerT(network="autoprox_supernet"))
    assert list(supernet.columns) == ["imagenet_super_acc"]
    with pytest.raises(TruthError, match=r"no accuracies of the network 'autoformer'.*three net"):
        truth.load(path, AutoFormerT())
    named = truth.load(path, AutoFormerT(), columns=["c100_kd_acc"])
    assert list(named.columns) == ["c100_kd_acc"]
    pit = truth.load(path, registry.space("pit"))
    assert len(pit) == 100
    assert "imagenet_super_acc" not in pit.columns
    with pytest.raises(TruthError, match="is of autoformer_t and pit: say of which space"):
        truth.load(path)


@needs_data
def test_a_table_of_another_space_is_refused():
    with pytest.raises(TruthError, match=r"architectures of nb_macro .*scores are of mnasnet"):
        truth.load(DATA / "nb_macro_cifar10.csv.gz", registry.space("mnasnet"))


@needs_data
def test_what_is_no_accuracy_in_a_published_table_has_its_direction():
    path = DATA / "mnasnet_imagenet.csv.gz"
    loaded = truth.load(path, columns=["latency_zcu102", "throughput_a100"])
    raw = pd.read_csv(path).drop_duplicates("arch", keep=False).set_index("arch")
    assert (loaded.loc[raw.index, "latency_zcu102"].dropna() < 0).all()
    assert (loaded.loc[raw.index, "throughput_a100"].dropna() > 0).all()
