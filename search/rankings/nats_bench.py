"""Accuracies from the official files of NATS-Bench's topology space, without running anything.

The release is a folder of pickles: `meta.pickle.pbz2` with the architectures, and a file of
trainings for each. NATS-Bench's own reader unpickles them, which runs any code in a file. Here
`restricted_pickle` reads them. Accuracies are those that their reader returns.
"""

import bz2
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vkdnw.search import limits
from vkdnw.search.rankings.restricted_pickle import RestrictedPickleError, loads

DATASETS: Mapping[str, str] = {
    "cifar10": "ori-test",
    "cifar100": "x-test",
    "ImageNet16-120": "x-test",
}
"""The data sets of NATS-Bench, and the split whose accuracy the paper's tables use."""

META = "meta.pickle.pbz2"
_EPOCHS = "200"
_FILE = re.compile(r"(\d{6})\.pickle\.pbz2")


class NatsBenchError(ValueError):
    """A folder or file that is no official one, or cannot be read as such."""


def load(folder: Path) -> list[dict[str, Any]]:
    """A row for each architecture whose file is there: ``arch``, and its accuracy by data set.

    Accuracy in percent after 200 epochs, the mean over the benchmark's seeds. Files are read one at
    a time and forgotten: the whole release takes gigabytes in memory.

    Raises:
        NatsBenchError: a ValueError that names the file, the fault, and a remedy.
        OSError: a file cannot be opened.
    """
    found = (_FILE.fullmatch(path.name) for path in folder.iterdir())
    indices = sorted(int(match[1]) for match in found if match)
    if not (folder / META).is_file() or not indices:
        raise NatsBenchError(
            f"{folder} is not a NATS-Bench folder: it needs {META} and files such as "
            "000284.pickle.pbz2"
        )
    architectures = _architectures(folder / META)
    rows = []
    for index in indices:
        path = folder / f"{index:06d}.pickle.pbz2"
        if index >= len(architectures):
            raise NatsBenchError(
                f"{path}: {META} knows {len(architectures)} architectures, none of this number"
            )
        rows.append({"arch": architectures[index], **_accuracies(path)})
    return rows


def read(path: Path) -> Any:
    """The plain data of one official file. Raises NatsBenchError and OSError."""
    if not path.is_file():
        raise NatsBenchError(f"{path} is not a regular file")
    most = limits.limit("pickle-bytes")
    try:
        with bz2.open(path) as file:
            content = file.read(most + 1)
    except (EOFError, ValueError, OSError) as error:
        raise NatsBenchError(
            f"{path} cannot be decompressed ({error}); download it again"
        ) from error
    if len(content) > most:
        message = limits.exceeded("pickle-bytes", str(path), "its decompressed size")
        raise NatsBenchError(message)
    try:
        return loads(content)
    except RestrictedPickleError as error:
        raise NatsBenchError(
            f"{path} is refused: {error}; download the official file again, or give a table"
        ) from error


def _architectures(path: Path) -> list[str]:
    content = read(path)
    names = content.get("meta_archs") if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise NatsBenchError(f"{path} has no list 'meta_archs' of architectures")
    return names


def _accuracies(path: Path) -> dict[str, float]:
    """Accuracies by data set, without the noise of summing over seeds.

    Each is a mean of a few fractions of some thousand images, so equal ones are common; the digits
    that rounding takes off would tell them apart.
    """
    content = read(path)
    try:
        results = content[_EPOCHS]
        return {
            dataset: round(_mean_accuracy(results, dataset, split), 6)
            for dataset, split in DATASETS.items()
        }
    except (KeyError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise NatsBenchError(
            f"{path} does not hold trainings of {_EPOCHS} epochs as the official files do "
            f"({type(error).__name__}: {error})"
        ) from error


def _mean_accuracy(results: Any, dataset: str, split: str) -> float:
    seeds = results["dataset_seed"][dataset]
    trainings = [results["all_results"][dataset, seed] for seed in seeds]
    last = [training["eval_acc1es"][f"{split}@{training['epochs'] - 1}"] for training in trainings]
    return float(sum(last) / len(last))
