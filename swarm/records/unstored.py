"""Reports that the run folder's disk does not take: put elsewhere, found again, and told of in either case.

Knows: batches, folders, a few kilobytes that are set aside while the disk still takes them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from swarm.records.batch import Batch
from swarm.records.journal import Journal, read_journal
from swarm.records.rows import from_message

NAME = "unstored.journal"
ASIDE = ".end"
"""Of a folder of journals: a file of `ASIDE_BYTES`, written over in place, which needs no room."""
ASIDE_BYTES = 1 << 16


def places(folder: Path, run_id: str) -> tuple[Path, ...]:
    """Return where reports may be kept, the best place first: with the journals, beside them, elsewhere."""
    return folder / "journal", folder, Path(tempfile.gettempdir()) / "swarm-journals" / run_id


def store(batches: Sequence[Batch], where: Iterable[Path]) -> Path | None:
    """Write batches into a journal of their own where a place takes them; return it, or None."""
    for place in where:
        path = place / NAME
        was_there = path.exists()
        try:
            place.mkdir(parents=True, exist_ok=True)
            journal = Journal(path)
            for batch in batches:
                journal.append(batch.frame())
            journal.close()
        except OSError:
            if not was_there:
                path.unlink(missing_ok=True)
            continue
        return path
    return None


def bring_in(where: Sequence[Path]) -> None:
    """Move reports that were put elsewhere into the first place; raises OSError where that takes none."""
    for place in where[1:]:
        path = place / NAME
        if path.exists():
            journal = Journal(where[0] / NAME)
            for message in read_journal(path):
                journal.append(message)
            journal.close()
            path.unlink()


def rows_of(batches: Iterable[Batch]) -> int:
    """Return how many requests batches tell of."""
    return sum(int(from_message(batch.rows).num_rows) for batch in batches)


def set_aside(journals: Path) -> None:
    """Take room for what is said at a run's end; raises OSError where there is none."""
    (journals / ASIDE).write_bytes(b" " * ASIDE_BYTES)


def note(journals: Path, **facts: Any) -> None:
    """Add facts to what is known of a run's end, as far as the disk lets them be written over."""
    data = orjson.dumps({**noted(journals), **facts}, option=orjson.OPT_NON_STR_KEYS)
    if len(data) > ASIDE_BYTES:
        return
    try:
        file = os.open(journals / ASIDE, os.O_WRONLY)
    except OSError:
        return
    try:
        os.pwrite(file, data.ljust(ASIDE_BYTES), 0)
    except OSError:
        pass  # A disk that is read-only: the journals' ends are all that tells.
    finally:
        os.close(file)


def noted(journals: Path) -> dict[str, Any]:
    """Return what is known of a run's end; nothing where it had none."""
    try:
        found = orjson.loads((journals / ASIDE).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
