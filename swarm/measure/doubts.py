"""Why a server's count was treated as unknown, and what a reader of the run is told of it."""

from __future__ import annotations

from collections.abc import Iterable

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
