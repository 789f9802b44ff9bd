"""Plain data is read as pickle reads it; a file that names or does anything else is refused."""

import bz2
import collections
import os
import pickle
import pickletools
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.shared import DATA, needs_data
from vkdnw.search.rankings import truth
from vkdnw.search.rankings.restricted_pickle import RestrictedPickleError, loads

OFFICIAL = DATA / "NATS-tss-v1_0-3ffb9-simple"
PLAIN = {
    "numbers": [0, -1, 255, 70_000, -(2**31), 2**31, 2**40, 1.5, float("inf")],
    ("a", 1): {"nested": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]},
    "text": ["", "a" * 300, "\u00e9", None, True, False, b"bytes"],
    "set": {1, 2},
    "twice": [[1]] * 2,
}


def test_plain_data_is_read_as_pickle_reads_it() -> None:
    assert loads(pickle.dumps(PLAIN, protocol=4)) == PLAIN


def test_ordered_dicts_and_numpy_scalars_become_plain() -> None:
    given = collections.OrderedDict(a=np.float64(0.1), b=np.float32(0.5), c=np.int64(-3))
    assert loads(pickle.dumps(given, protocol=4)) == {"a": 0.1, "b": 0.5, "c": -3}


class Runs:
    """A function that pickle would call while it reads."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def as_written(text: str) -> bytes:
    """A pickle of protocol 0, as it is written by hand."""
    return text.encode()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (pickle.dumps(Runs(os.system, "true"), protocol=4), "posix.system"),
        (pickle.dumps(Runs(eval, "1"), protocol=4), "builtins.eval"),
        (pickle.dumps(Runs(print), protocol=4), "builtins.print"),
        (pickle.dumps(Runs(print), protocol=2), "instruction GLOBAL"),
        (as_written("cos\nsystem\n(S'true'\ntR."), "instruction GLOBAL"),
        (as_written("(S'true'\nios\nsystem\n."), "instruction (STRING|INST)"),
        (pickle.dumps(Path("x"), protocol=4), "pathlib"),
        (pickle.dumps(np.zeros(3), protocol=4), "_reconstruct"),
        (pickle.dumps(collections.OrderedDict, protocol=4)[:-1] + b"K\x01\x85R.", "calls"),
        (pickle.dumps(np.dtype("O"), protocol=4), "calls numpy.dtype"),
        (b"\x80\x04P1\n.", "instruction PERSID"),
        (b"\x80\x04\x82\x01.", "instruction EXT1"),
        (b"\x80\x04r\xff\xff\xff\x7f.", "instruction LONG_BINPUT"),
    ],
)
def test_what_is_not_plain_data_is_refused_by_name(content: bytes, named: str) -> None:
    with pytest.raises(RestrictedPickleError, match=named):
        loads(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04",
        b"\x80\x04.",
        b"\x80\x04X\xff\xff\xff\xff.",  # a string of 4 GB
        b"\x80\x04h\x05.",
        b"\x80\x04]K\x01s.",
        b"\x80\x04u.",
        b"\x80\x04(((.",
        b"\x80\x04}]K\x01s.",
        b"\x80\x04" + b"(" * 10 + b"t" * 11 + b".",
        b"\x80\x04\x8c\x02\xff\xfe.",
        b"\xff",
    ],
)
def test_damage_is_an_error_of_its_own(content: bytes) -> None:
    with pytest.raises(RestrictedPickleError, match=r"damaged|instruction|key"):
        loads(content)


def test_deep_nesting_is_read_without_recursion() -> None:
    depth = 200_000
    value = loads(b"\x80\x04" + b"]" * depth + b"a" * (depth - 1) + b".")
    assert isinstance(value, list)
    with pytest.raises(RestrictedPickleError, match="key"):
        loads(b"\x80\x04})" + b"\x85" * depth + b"K\x01s.")  # its hash would recurse


def damaged(content: bytes, count: int = 60) -> Iterator[bytes]:
    """Copies of a pickle, each with another bit flipped."""
    draws = random.Random(0)
    for _ in range(count):
        copy = bytearray(content)
        copy[draws.randrange(len(copy))] ^= 1 << draws.randrange(8)
        yield bytes(copy)


@needs_data
@pytest.mark.parametrize("name", ["meta", "000284"])
def test_damage_of_an_official_file_is_refused(name: str) -> None:
    content = bz2.decompress((OFFICIAL / f"{name}.pickle.pbz2").read_bytes())[:40_000] + b"."
    for copy in damaged(content):
        with pytest.raises(RestrictedPickleError):
            loads(copy)


def test_damage_of_plain_data_is_refused_or_read_as_data() -> None:
    """No flipped bit raises another error, or makes anything but plain data."""
    read = 0
    for copy in damaged(pickle.dumps(PLAIN), 300):
        with suppress(RestrictedPickleError):
            assert isinstance(loads(copy), dict)
            read += 1
    assert 0 < read < 300


@needs_data
def test_only_what_official_files_hold_is_allowed() -> None:
    """Each of their instructions is one that we know, and a trap beside them is not."""
    for path in OFFICIAL.glob("*.pbz2"):
        assert loads(bz2.decompress(path.read_bytes()))
    used = {
        op.name
        for path in OFFICIAL.glob("*.pbz2")
        for op, _, _ in pickletools.genops(bz2.decompress(path.read_bytes()))
    }
    assert not used & {"GLOBAL", "INST", "OBJ", "NEWOBJ", "PERSID", "EXT1", "LONG_BINPUT"}


@needs_data
@pytest.mark.parametrize("trapped", ["meta", "000284"])
def test_a_prepared_official_file_runs_nothing(tmp_path: Path, trapped: str) -> None:
    for name in ("meta", "000284"):
        source = OFFICIAL / f"{name}.pickle.pbz2"
        (tmp_path / source.name).write_bytes(source.read_bytes())
    witness = tmp_path / "ran"
    trap = pickle.dumps(Runs(os.system, f"touch {witness}"), protocol=4)
    (tmp_path / f"{trapped}.pickle.pbz2").write_bytes(bz2.compress(trap))
    with pytest.raises(
        truth.TruthError, match=rf"{trapped}\.pickle\.pbz2 is refused.*posix\.system"
    ):
        truth.load(tmp_path)
    assert not witness.exists()


@needs_data
def test_accuracies_are_those_of_the_benchmarks_own_reader() -> None:
    nats_bench = pytest.importorskip("nats_bench")
    from vkdnw.search.rankings.nats_bench import DATASETS, load

    api = nats_bench.create(str(OFFICIAL), "tss", fast_mode=True, verbose=False)
    for row, index in zip(load(OFFICIAL), (0, 11, 284), strict=True):
        assert row["arch"] == api.arch(index)
        results = api.query_meta_info_by_index(index, hp="200")
        for dataset, split in DATASETS.items():
            theirs = results.get_metrics(dataset, split)["accuracy"]
            assert row[dataset] == round(float(theirs), 6)


@needs_data
def test_a_bomb_is_refused_before_memory_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = OFFICIAL / "meta.pickle.pbz2"
    (tmp_path / meta.name).write_bytes(meta.read_bytes())
    (tmp_path / "000284.pickle.pbz2").write_bytes(bz2.compress(bytes(3 * 2**20)))
    monkeypatch.setenv("VKDNW_LIMITS", "pickle-bytes=2M")
    with pytest.raises(truth.TruthError, match=r"000284.*--limit pickle-bytes=N"):
        truth.load(tmp_path)


@needs_data
@pytest.mark.parametrize(
    "content", [[], {}, {"200": {}}, {"200": {"dataset_seed": {"cifar10": []}}}]
)
def test_plain_data_of_another_shape_is_refused(tmp_path: Path, content: Any) -> None:
    meta = OFFICIAL / "meta.pickle.pbz2"
    (tmp_path / meta.name).write_bytes(meta.read_bytes())
    path = tmp_path / "000284.pickle.pbz2"
    path.write_bytes(bz2.compress(pickle.dumps(content, protocol=4)))
    with pytest.raises(truth.TruthError, match=r"000284.*does not hold trainings of 200 epochs"):
        truth.load(tmp_path)
