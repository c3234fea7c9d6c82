"""Why a server's count was treated as unknown, and what a reader of the run is told of it."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from swarm.records.row import UNSENT
from swarm.units import counted

COUNTS_RATIO_MAX = 4.0
"""A server's tokens are not this many times shorter or longer than planned ones, over a whole run."""

DOUBTS = {
    "beyond": "the server's count was negative, broken or beyond 2^53",
    "cached": "the server's count of cached tokens exceeded its prompt",
    "prompt": "the server's count of prompt tokens cannot be that of what was sent",
    "output": "the server's count of output tokens cannot be that of what arrived",
}


def doubts_told(doubts: Iterable[tuple[str, int]]) -> list[str]:
    """Return a note for each kind of doubt, in their order, with how many requests it concerns."""
    counts = dict.fromkeys(DOUBTS, 0)
    for name, count in doubts:
        counts[name] = counts.get(name, 0) + count
    return [
        f"{count:,} request{'s' if count > 1 else ''}: {DOUBTS.get(name, name)}; treated as unknown"
        for name, count in counts.items()
        if count
    ]


def unsent_told(rows: pa.Table) -> list[str]:
    """Return a note on turns that were due and never sent."""
    rows = rows.filter(pc.equal(rows.column("error_class"), UNSENT))
    if not rows.num_rows:
        return []
    longest_s = pc.max(rows.column("admission_wait_s")).as_py()
    return [
        f"{counted(rows.num_rows, 'turn')} still waited for admission when the load ended, for up to "
        f"{longest_s:.1f} s, and never left: a miss of each objective whose bound had passed; "
        "load.admission lets through less than was asked"
    ]


def cut_told(rows: pa.Table) -> list[str]:
    """Return a note on requests that had no token when the run ended, after longer than any other waited.

    Percentiles are of those that finished: a server that falls silent would not show in them.
    """
    rows = rows.filter(rows.column("measured"))
    waited_s = pc.subtract(rows.column("first_token_s"), rows.column("intended_s"))
    longest_s = pc.max(waited_s.filter(pc.equal(rows.column("outcome"), "ok"))).as_py()
    cut = rows.filter(
        pc.and_(pc.equal(rows.column("error_class"), "interrupted"), pc.is_null(rows.column("first_token_s")))
    )
    if longest_s is None:
        return []
    cut_s = pc.subtract(cut.column("completed_s"), cut.column("intended_s"))
    late_s = cut_s.filter(pc.greater(cut_s, longest_s))
    if not len(late_s):
        return []
    return [
        f"{counted(len(late_s), 'request')} had no token yet when the run ended, after up to "
        f"{pc.max(late_s).as_py():.1f} s; those that finished had theirs within {longest_s:.1f} s: "
        "percentiles are of these alone; give load.drain_s more, or look at what the server did at the end"
    ]


def counts_told(rows: pa.Table) -> list[str]:
    """Return notes where the counts of all finished requests together are far from what was planned.

    Hit rates hold counted tokens against planned ones, so that they say nothing then. Replies may be shorter.
    """
    rows = rows.filter(pc.equal(rows.column("outcome"), "ok"))
    found = []
    for name, least in (("prompt", 1 / COUNTS_RATIO_MAX), ("output", 0.0)):
        counted = pc.sum(rows.column(f"{name}_tokens")).as_py() or 0
        planned = pc.sum(rows.column(f"planned_{name}_tokens")).as_py() or 0
        if planned and not least <= counted / planned <= COUNTS_RATIO_MAX:
            found.append(
                f"the server counted {counted:,} {name} tokens where {planned:,} were planned: "
                "rates of tokens and hits that rest on its counts are not to be relied on"
            )
    return found
