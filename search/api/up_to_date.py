"""Whether a run already has all results of a call.

The call then returns the run at once: nothing is opened for writing, and torch is not loaded.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from vkdnw.search.configuration import Json
from vkdnw.search.requested_values import ALL
from vkdnw.search.state.database import STATE_NAME
from vkdnw.search.state.results import open_results


def is_up_to_date(
    folder: Path, settings: Mapping[str, Json], evaluations: int | None = None
) -> bool:
    """Whether the last session asked for the same, and everything asked for is scored.

    Args:
        folder: of the run.
        settings: of the call.
        evaluations: of an evolution: so many networks are scored or have failed for good.

    False where settings alone do not decide it: images from files, which may have changed,
    listed architectures, and `all` proxies, which may have become more.
    """
    if settings.get("data") or settings.get("images") or settings.get("proxies") == ALL:
        return False
    if str(settings.get("architectures", "")).endswith("listed"):
        return False
    if not (folder / STATE_NAME).is_file():
        return False
    with open_results(folder) as results:
        last = results.settings()
        asked = json.loads(json.dumps(dict(settings)))
        if {**last, "workers": 0} != {**asked, "workers": 0}:  # no score depends on them
            return False
        tally = results.tally()
    if evaluations is None:
        return 0 < tally.tasks == tally.scored
    return tally.tasks == evaluations and tally.scored + len(tally.failures) == evaluations
