"""Tables of accuracies and the official files: how they are read, and refusals."""

import numpy as np
import pandas as pd
import pytest

from tests.shared import DATA, needs_data
from vkdnw.search.rankings import truth
from vkdnw.search.rankings.truth import TruthError
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nb_macro import NBMacro

ARCHITECTURES = nb201.enumerate()[:4]


@pytest.fixture
def table():
    return pd.DataFrame(
        {"arch": ARCHITECTURES, "cifar10": [90.0, 85.5, 10.0, 94], "cifar100": [70, 60, 1, 73]}
    )


def write(table, path):
    if path.name.endswith(".parquet"):
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
@pytest.mark.parametrize("with_index", [False, True])
def test_every_format_gives_the_same_table(tmp_path, table, name, with_index):
    if with_index:
        table.insert(0, "index", range(4))
    loaded = truth.load(write(table, tmp_path / name))
    assert list(loaded.columns) == ["cifar10", "cifar100"]
    assert tuple(loaded.index) == ARCHITECTURES
    assert (loaded.dtypes == "float64").all()
    assert loaded.loc[ARCHITECTURES[1]].tolist() == [85.5, 60.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="arch"), "no column 'arch'; it has cifar10, cifar100"),
        (lambda t: t[["arch"]], "has no accuracies: 4 rows, arch"),
        (lambda t: t.head(0), "has no accuracies: 0 rows"),
        (
            lambda t: pd.concat([t, t[1:2]]),
            r"names 1 architecture\(s\) more than once, first \|nor",
        ),
        (
            lambda t: t.replace({"arch": {ARCHITECTURES[2]: "|x~0|+||+||"}}),
            "row 3: edge 1<-0 .*'x'",
        ),
        (lambda t: t.replace({"arch": {ARCHITECTURES[2]: None}}), "row 3: .*not float"),
        (lambda t: t.assign(cifar10=np.nan), "'cifar10': all 4 accuracies are missing"),
        (lambda t: t.replace(85.5, 185.5), "'cifar10': 1 accuracies .*not in .*first 185.5 of"),
        (lambda t: t.replace(85.5, "n/k"), "'cifar10': accuracies must be numbers"),
        (lambda t: t.assign(cifar10=t.cifar10 / 100), "'cifar10': .*0.94; .*not fractions"),
    ],
)
def test_tables_that_cannot_be_right_are_refused(tmp_path, table, change, message):
    path = write(change(table), tmp_path / "t.csv")
    with pytest.raises(TruthError, match=message):
        truth.load(path)


def test_an_accuracy_that_is_kept_back_is_an_empty_cell(tmp_path, table):
    loaded = truth.load(write(table.replace(85.5, None), tmp_path / "t.csv"))
    assert loaded["cifar10"].isna().tolist() == [False, True, False, False]


def test_of_what_is_no_accuracy_the_direction_is_said(tmp_path, table):
    path = write(table.assign(loss=[0.5, 0.25, 7, 200]), tmp_path / "t.csv")
    with pytest.raises(TruthError, match=r"'loss': 1 accuracies are not in .*NAME:lower"):
        truth.load(path)
    loaded = truth.load(path, columns=["loss:lower", "cifar10"])
    assert loaded["loss"].tolist() == [-0.5, -0.25, -7, -200]
    assert loaded["cifar10"].tolist() == [90.0, 85.5, 10.0, 94]
    assert truth.load(path, columns=["loss:higher"])["loss"].tolist() == [0.5, 0.25, 7, 200]
    for wrong, message in (
        ("loss:less", "after ':' comes percent, higher, lower"),
        ("los", "no column 'los'; it has arch, cifar10"),
    ):
        with pytest.raises(TruthError, match=message):
            truth.load(path, columns=[wrong])


def test_architectures_are_read_in_every_notation_of_the_space(tmp_path):
    """And as texts: `00000012` is no number."""
    table = pd.DataFrame({"arch": ["00000012", "[0, 1, 2, 0, 1, 2, 0, 1]", "6560"], "a": [9, 5, 7]})
    loaded = truth.load(write(table, tmp_path / "t.csv"), NBMacro())
    assert list(loaded.index) == ["00000012", "01201201", "22222222"]


def test_equal_networks_lend_their_accuracy_to_strings_that_are_not_there(tmp_path):
    table = pd.DataFrame({"arch": ["22212202", "00000000"], "a": [90.0, 50.0]})
    loaded = truth.load(write(table, tmp_path / "t.csv"), NBMacro())
    asked = ["22212220", "00000000", "11111111"]
    found = truth.with_equal_networks(loaded, asked, NBMacro())
    assert found["a"].to_dict() == {"22212202": 90.0, "00000000": 50.0, "22212220": 90.0}


@pytest.mark.parametrize("name", ["t.csv.gz", "t.parquet"])
def test_damaged_tables_are_refused(tmp_path, table, name):
    path = write(table, tmp_path / name)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(TruthError, match=r"t\..* cannot be read as a table"):
        truth.load(path)


def test_an_empty_table_is_refused(tmp_path):
    (tmp_path / "t.csv").touch()
    with pytest.raises(TruthError, match="cannot be read as a table"):
        truth.load(tmp_path / "t.csv")


def test_what_is_not_there_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(TruthError, match=r"no table .* at .*t\.csv"):
        truth.load(tmp_path / "t.csv")
    (tmp_path / "t.txt").touch()
    with pytest.raises(TruthError, match=r"must end in \.csv, \.csv\.gz or \.parquet"):
        truth.load(tmp_path / "t.txt")
    with pytest.raises(TruthError, match=r"not a NATS-Bench folder: it needs meta\.pickle\.pbz2"):
        truth.load(tmp_path)


@needs_data
def test_the_official_files_agree_with_the_table():
    official = truth.load(DATA / "NATS-tss-v1_0-3ffb9-simple")
    table = truth.load(DATA / "nats_tss_test_accuracy.csv.gz")
    assert list(official.columns) == ["cifar10", "cifar100", "ImageNet16-120"]
    assert list(official.index) == [nb201.enumerate()[index] for index in (0, 11, 284)]
    datasets = ["cifar10", "cifar100"]
    pd.testing.assert_frame_equal(
        official[datasets], table.loc[official.index, datasets], check_exact=True
    )
    # As nats_bench prints them for 200 epochs.
    assert official["ImageNet16-120"].tolist() == pytest.approx(
        [26.6333332739936, 30.166666602240667, 32.466666556464304], abs=1e-6
    )


@needs_data
def test_a_damaged_official_file_is_named(tmp_path):
    folder = DATA / "NATS-tss-v1_0-3ffb9-simple"
    for name in ("meta.pickle.pbz2", "000011.pickle.pbz2"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "000284.pickle.pbz2").write_bytes(
        (folder / "000284.pickle.pbz2").read_bytes()[:1000]
    )
    with pytest.raises(TruthError, match=r"000284\.pickle\.pbz2 cannot be decompressed"):
        truth.load(tmp_path)


@needs_data
def test_the_whole_table_has_every_architecture():
    table = truth.load(DATA / "nats_tss_test_accuracy.csv.gz")
    assert tuple(table.index) == nb201.enumerate()
