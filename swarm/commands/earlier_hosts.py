"""Hosts that outlive their driver for a moment: what they still write is waited for, and then read."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from swarm.errors import RunError
from swarm.records.journal import is_being_written

END_S_MAX = 60.0
"""How long the processes of a lost driver may take to end; Ray ends them within seconds."""
LOOK_EVERY_S = 0.2


def wait_for_earlier_hosts(journals: Path, heed: Callable[[], None]) -> None:
    """Return when nobody writes a run's journals; call `heed` until then.

    Raises:
        RunError: Somebody still does after `END_S_MAX`.
    """
    until_s = time.monotonic() + END_S_MAX
    is_told = False
    while written := [path for path in sorted(journals.glob("*.journal")) if is_being_written(path)]:
        heed()
        if not is_told:
            is_told = True
            print(f"waiting for {len(written)} processes of the earlier driver to end", file=sys.stderr)
        if time.monotonic() > until_s:
            raise RunError(
                f"{written[0]}: a process of the earlier driver still writes it after {END_S_MAX:.0f} s; "
                "end it (`ray stop`, or by its id), then go on with the run"
            )
        time.sleep(LOOK_EVERY_S)
