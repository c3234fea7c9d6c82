"""Where the hits went that no limit would have kept away: ideal minus observed, split by cause.

Each cause is what one more limit takes from the leading run of blocks, in the order of `CAUSES`:

- block_rounding: blocks that no hit may cover, as the last token must be computed;
- in_flight: sent, but not computed yet, or on the way to a tier and held nowhere else;
- ttl: last used longer ago than any reachable tier keeps;
- capacity: held nowhere in the fleet any more;
- routing: held, but where this replica cannot reach it;
- dropped_write: would be in reach, had a tier taken a write that it dropped;
- chosen_recompute: held in reach and computed again by choice;
- unexplained: none of these; a fleet without eviction that still lost blocks.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence

from swarm.context.tree import Node, Prompt
from swarm.kvcache.match import Match
from swarm.kvcache.prefix import Piece, spans
from swarm.kvcache.tier import Tier
from swarm.measure.ideal import Ideal

CAUSES = (
    "block_rounding",
    "in_flight",
    "ttl",
    "capacity",
    "routing",
    "dropped_write",
    "chosen_recompute",
    "unexplained",
)

NO_LOSS = (0,) * len(CAUSES)

Reach = tuple[int, float]
"""Blocks of a node up to an end, and the time of their last use (infinite while in use)."""


class Losses:
    """What a fleet's caches would hold without limits, kept beside them to explain what they do not."""

    __slots__ = (
        "_dropped",
        "_moving",
        "_published",
        "_tiers",
        "_used",
        "block_tokens",
        "ideal",
        "ttl_matters",
    )

    def __init__(self, *, block_tokens: int, tiers: Sequence[Tier]) -> None:
        self.block_tokens = block_tokens
        self.ideal = Ideal(block_tokens=block_tokens)
        """By sends: call `ideal.send` for each request, `ideal.output` for each reply that is echoed."""
        self._tiers = tuple(tiers)
        """Every tier of the fleet, once."""
        self.ttl_matters = any(tier.spec.ttl_s is not None for tier in tiers)
        self._published = Ideal(block_tokens=block_tokens)
        self._used: weakref.WeakKeyDictionary[Node, list[Reach]] = weakref.WeakKeyDictionary()
        self._dropped: weakref.WeakKeyDictionary[Node, list[tuple[int, int]]] = weakref.WeakKeyDictionary()
        self._moving: dict[Node, list[tuple[int, int]]] = {}

    def publish(self, node: Node, start: int, end: int) -> None:
        """Blocks [start, end) of a path have become visible somewhere."""
        self._published.send(Prompt(node, end * self.block_tokens))
        if self._dropped:
            for owner, low, high in spans(node, start, end, self.block_tokens):
                marks = self._dropped.get(owner)
                if marks is not None:
                    marks[:] = [mark for mark in marks if mark[1] <= low or mark[0] >= high]
                    if not marks:
                        del self._dropped[owner]

    def use(self, node: Node, end: int, at_s: float) -> None:
        """The first `end` blocks of a path are in use (infinite), or were last used at a time."""
        if not self.ttl_matters:
            return
        for owner, _, high in spans(node, 0, end, self.block_tokens):
            reaches = self._used.get(owner)
            if reaches is None:
                self._used[owner] = [(high, at_s)]
            else:
                while reaches and reaches[-1][0] <= high:
                    reaches.pop()
                reaches.append((high, at_s))

    def move(self, pieces: Sequence[Piece]) -> None:
        """These are on their way to a tier."""
        for node, start, end, _ in pieces:
            self._moving.setdefault(node, []).append((start, end))

    def settle(self, pieces: Sequence[Piece], dropped: bool) -> None:
        """These have arrived, or were dropped."""
        for node, start, end, _ in pieces:
            ranges = self._moving[node]
            ranges.remove((start, end))
            if not ranges:
                del self._moving[node]
            if dropped:
                self._dropped.setdefault(node, []).append((start, end))

    def split(
        self,
        match: Match,
        tiers: Sequence[Tier],
        ideal_tokens: int,
        limit_blocks: int,
        used_tokens: int,
    ) -> tuple[int, ...]:
        """Return the tokens lost to each of `CAUSES`; they sum to ideal minus used."""
        prompt, now_s, held_tokens = match.prompt, match.at_s, match.tokens
        chosen = held_tokens - used_tokens
        if ideal_tokens == held_tokens:
            return (0, 0, 0, 0, 0, 0, chosen, 0) if chosen else NO_LOSS
        size = self.block_tokens
        held = held_tokens // size
        rounded = max(held, min(ideal_tokens // size, limit_blocks))
        in_reach = self._reach(prompt.node, held, rounded, tiers, now_s)
        anywhere = self._reach(prompt.node, in_reach, rounded, self._tiers, now_s)
        visible = max(held, min(rounded, self._published.peek(prompt) // size))
        if anywhere < visible and self._is_moving(prompt.node, anywhere):
            visible = anywhere
        alive = max(held, min(visible, self._alive(prompt.node, visible, tiers, now_s)))
        anywhere = min(anywhere, alive)
        in_reach = min(in_reach, anywhere)
        evicted = any(tier.counters.evicted_blocks for tier in self._tiers)
        gone = (alive - anywhere) * size
        return (
            ideal_tokens - rounded * size,
            (rounded - visible) * size,
            (visible - alive) * size,
            gone if evicted else 0,
            (anywhere - in_reach) * size,
            (in_reach - held) * size,
            chosen,
            0 if evicted else gone,
        )

    def _reach(self, node: Node, start: int, end: int, tiers: Sequence[Tier], now_s: float) -> int:
        """Return where the run of blocks from `start` ends that are held by `tiers`, or were dropped."""
        for owner, low, high in spans(node, start, end, self.block_tokens):
            while low < high:
                reach = max(
                    (high_ for low_, high_ in self._dropped.get(owner, ()) if low_ <= low), default=low
                )
                for tier in tiers:
                    covered = tier.runs.covered(owner, low, high, now_s, tier.ttl_s)
                    if covered and covered[0][0] == low:
                        reach = max(reach, covered[0][1])
                if reach <= low:
                    return low
                low = reach
        return end

    def _alive(self, node: Node, end: int, tiers: Sequence[Tier], now_s: float) -> int:
        """Return where the run of blocks ends that some tier would still keep at their age."""
        ttl_s = max(tier.ttl_s for tier in tiers)
        if ttl_s == math.inf:
            return end
        for owner, low, high in spans(node, 0, end, self.block_tokens):
            reaches = self._used.get(owner, ())
            reach = max((top for top, at_s in reaches if at_s + ttl_s >= now_s), default=low)
            if reach < high:
                return reach
        return end

    def _is_moving(self, node: Node, block: int) -> bool:
        for owner, _, _ in spans(node, block, block + 1, self.block_tokens):
            return any(low <= block < high for low, high in self._moving.get(owner, ()))
        return False
