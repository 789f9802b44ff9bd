"""The folder of golden values and released accuracies that lies beside a checkout, not in it.

`VKDNW_SHARED` names it where it is elsewhere; tests that need it are skipped where there is none.
"""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("VKDNW_SHARED", Path(__file__).resolve().parents[2] / "shared"))

GOLDEN = SHARED / "golden"
DATA = SHARED / "data"

GOLDEN_CASES = (
    "s1_all_conv3x3",
    "s2_skips",
    "s3_pools",
    "s4_one_conv",
    "s5_all_none",
    "s6_deep_vkdnw_only",
)

needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason=f"no golden values at {GOLDEN}; set VKDNW_SHARED"
)
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no accuracies and images at {DATA}; set VKDNW_SHARED"
)
