"""Hit rates side by side: what could have hit, what a stated cache would, what the server says and counts.

All of them over the whole run, warm-up included, for a server's counters know no phases. Unknown is None.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from swarm.measure.latency import Selection, flags
from swarm.measure.totals import RunTotals


def reconcile(table: pa.Table, totals: RunTotals) -> dict[str, Any]:
    """Return tokens and rates of each view, over the rows that finished, and how far they are apart.

    `counters` cover everything that its servers were asked: of failed requests, and of other clients, too.
    """
    finished = Selection(table, flags(table, "outcome", "ok"))
    counters = totals.counters
    views = {
        "ideal": _view(finished, "ideal_tokens"),
        "modelled": _view(finished, "modelled_tokens"),
        "reported": _view(finished, "cached_tokens"),
        "counters": None
        if counters is None
        else {
            "family": counters.family,
            "servers": counters.servers,
            "prompt_tokens": counters.query_tokens,
            "hit_tokens": counters.hit_tokens,
            "hit_rate": counters.hit_tokens / counters.query_tokens if counters.query_tokens else None,
        },
    }
    return {**views, "reported_less_counters_tokens": _gap(views["reported"], views["counters"])}


def _view(finished: Selection, name: str) -> dict[str, Any] | None:
    known = finished.knowing(name)
    if not known.num_rows:
        return None
    prompt, hit = (int(pc.sum(known.column(column)).as_py()) for column in ("prompt_tokens", name))
    return {
        "requests": known.num_rows,
        "prompt_tokens": prompt,
        "hit_tokens": hit,
        "hit_rate": hit / prompt if prompt else None,
    }


def _gap(one: dict[str, Any] | None, other: dict[str, Any] | None) -> int | None:
    return None if one is None or other is None else one["hit_tokens"] - other["hit_tokens"]
