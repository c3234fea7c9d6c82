"""Hit rates side by side: what could have hit, what a stated cache would, what the server says and counts.

These are over the whole run, warm-up included, for a server's counters know no phases; hits by turn are of
the rows given. Unknown is None.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from swarm.measure.latency import Floats, Selection, flags, floats, ttft_s
from swarm.measure.totals import RunTotals

EDGES = (*range(10), 10, 20, 50, 100, 200, 500)
"""First turns of the groups: ten of one turn each, then wider ones."""


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


def by_turn(finished: Selection) -> list[dict[str, Any]]:
    """Return a line for each group of turns that requests finished in.

    `turn_from` and `turn_to` (inclusive; None: open) count from 0, as `turn` in the rows. `hit_rate` and
    `ideal_hit_rate` are shares of prompt tokens, `ttft_mean_s` is in seconds; None where not known.
    """
    group = np.searchsorted(EDGES, floats(finished, "turn"), side="right") - 1
    prompt, ideal = floats(finished, "prompt_tokens"), floats(finished, "ideal_tokens")
    cached, ttft = floats(finished, "cached_tokens"), ttft_s(finished)
    lines = []
    for at, first in enumerate(EDGES):
        mine = group == at
        if not mine.any():
            continue
        known = mine & ~np.isnan(cached)
        timed = mine & ~np.isnan(ttft)
        lines.append(
            {
                "turn_from": first,
                "turn_to": EDGES[at + 1] - 1 if at + 1 < len(EDGES) else None,
                "requests": int(mine.sum()),
                "prompt_tokens": int(prompt[mine].sum()),
                "hit_rate": _share(cached[known], prompt[known]),
                "ideal_hit_rate": _share(ideal[mine], prompt[mine]),
                "ttft_mean_s": float(ttft[timed].mean()) if timed.any() else None,
            }
        )
    return lines


def _share(part: Floats, whole: Floats) -> float | None:
    total = float(whole.sum())
    return float(part.sum()) / total if total else None
