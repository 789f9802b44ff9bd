"""Golden values, and accuracies of other people's data sets.

The small golden values are in `tests/golden`. The large ones, and the data, lie in a folder beside
the checkout, or where `VKDNW_SHARED` says; tests that need them are skipped where there is none.
"""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("VKDNW_SHARED", Path(__file__).resolve().parents[2] / "shared"))

COMMITTED = Path(__file__).resolve().parent / "golden"
DATA = SHARED / "data"

GOLDEN_CASES = (
    "s1_all_conv3x3",
    "s2_skips",
    "s3_pools",
    "s4_one_conv",
    "s5_all_none",
    "s6_deep_vkdnw_only",
)
"""The networks of golden/README.md; three of them are in this repository."""


def golden_path(name: str) -> Path:
    """A file or folder of golden values: in this repository, or else in the folder beside it."""
    here = COMMITTED / name
    return here if here.exists() else SHARED / "golden" / name


def needs_golden(name: str) -> pytest.MarkDecorator:
    """Skips a test where neither place has the file or folder."""
    missing = not golden_path(name).exists()
    return pytest.mark.skipif(missing, reason=f"no {golden_path(name)}; set VKDNW_SHARED")


def golden_cases(*names: str) -> list[object]:
    """Parameters for a test of several golden networks, each skipped where it is missing."""
    return [pytest.param(name, marks=needs_golden(name)) for name in names]


needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no accuracies and images at {DATA}; set VKDNW_SHARED"
)
