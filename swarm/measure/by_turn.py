"""Hits and waits by the number of a request in its agent: how a conversation, or a round of many, goes on."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarm.measure.latency import Floats, Selection, floats, ttft_s

EDGES = (*range(10), 10, 20, 50, 100, 200, 500)
"""First turns of the groups: ten of one turn each, then wider ones."""


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
