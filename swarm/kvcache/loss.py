"""Where the hits went that no limit would have kept away: ideal minus observed, split by cause.

`swarm.hit_names` says what the causes are. Each is what one more limit takes from the leading run of blocks.
"""

from __future__ import annotations

import math
import weakref
from bisect import insort
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from swarm.context.forget import Forget
from swarm.context.ideal import Ideal
from swarm.context.tree import Node
from swarm.hit_names import LOST_TO
from swarm.kvcache.blocks import Piece, spans
from swarm.kvcache.match import Match
from swarm.kvcache.states import StateTier
from swarm.kvcache.tier import Tier

NO_LOSS = (0,) * len(LOST_TO)

LastUses: TypeAlias = "WeakKeyDictionary[Node, list[tuple[int, float]]]"
"""For each node (end, time of last use) of its blocks from the first on, the deepest and oldest first."""

Drop: TypeAlias = tuple[int, int, Tier]
"""Blocks [start, end) whose write a tier dropped."""


class Drops:
    """For each node what was dropped and not computed since; a node is forgotten with its last holder."""

    __slots__ = ("by_id",)

    def __init__(self) -> None:
        self.by_id: dict[int, tuple[list[Drop], weakref.ref[Node]]] = {}
        """By the node's id, which is the node's alone while the reference lives."""

    def of(self, node: Node) -> list[Drop]:
        """Return a node's drops, the oldest first."""
        entry = self.by_id.get(id(node))
        return [] if entry is None else entry[0]

    def add(self, node: Node, start: int, end: int, tier: Tier) -> None:
        """Note that a tier dropped a node's blocks [start, end)."""
        entry = self.by_id.get(id(node))
        if entry is None:
            reference = weakref.ref(node, Forget(self.by_id, id(node)))
            self.by_id[id(node)] = ([(start, end, tier)], reference)
        else:
            entry[0].append((start, end, tier))

    def cut(self, node: Node, start: int, end: int) -> None:
        """Blocks [start, end) of a node were computed."""
        entry = self.by_id.get(id(node))
        if entry is None:
            return
        left = [part for drop in entry[0] for part in _cut(drop, start, end)]
        if left:
            self.by_id[id(node)] = (left, entry[1])
        else:
            del self.by_id[id(node)]


class Gone(NamedTuple):
    """Blocks of a node that were computed once, from where the stretch before ends up to `end`."""

    end: int
    used_s: float
    """When they were last used."""
    dropped_by: int
    """The number of the tier that dropped their last write; -1 where none did."""
    is_saved: bool = False
    """The state after them was saved once, of a model whose layers keep one."""


class Losses:
    """What a fleet's caches would hold without limits, kept beside them to explain what they do not."""

    __slots__ = (
        "_asked",
        "_drops",
        "_entered",
        "_has_others",
        "_last_uses",
        "_moving",
        "_published",
        "_saved",
        "_tiers",
        "block_tokens",
        "ideal",
    )

    def __init__(self, *, block_tokens: int, tiers: Sequence[Tier], asked: Sequence[Tier]) -> None:
        self.block_tokens = block_tokens
        self.ideal = Ideal(block_tokens=block_tokens)
        """By sends: call `ideal.send` for each request, `ideal.output` for each reply that is echoed."""
        self._tiers = tuple(tiers)
        """Every tier of the fleet, once."""
        self._asked = tuple(asked)
        """Of those, what ranks reach that requests are sent to; others decode what these have computed."""
        self._has_others = len(self._asked) < len(self._tiers)
        self._published = Ideal(block_tokens=block_tokens)
        self._entered = Ideal(block_tokens=block_tokens)
        """What was once in an HBM that requests are sent to; kept only where there are others."""
        self._last_uses: LastUses | None = None
        if any(tier.spec.ttl_s is not None for tier in tiers):
            self._last_uses = WeakKeyDictionary()
        self._drops = Drops()
        self._moving: dict[Node, list[tuple[int, int]]] = {}
        self._saved: WeakKeyDictionary[Node, list[int]] | None = None
        if any(isinstance(tier, StateTier) for tier in tiers):
            self._saved = WeakKeyDictionary()
        """For each node after which of its blocks a state was ever saved, in order; None: none are needed."""

    def close(self) -> None:
        """Forget all content: what forgets a node when it dies refers back to what is known of it."""
        for known in (self.ideal, self._published, self._entered):
            known.clear()
        self._drops.by_id.clear()

    def publish(self, hbm: Tier, node: Node, start: int, end: int) -> None:
        """Blocks [start, end) of a path have become visible in a rank's HBM."""
        self._published.send(node, end * self.block_tokens)
        if self._has_others and hbm in self._asked:
            self._entered.send(node, end * self.block_tokens)
        drops = self._drops
        if drops.by_id:
            for owner, low, high in spans(node, start, end, self.block_tokens):
                drops.cut(owner, low, high)

    def save_state(self, node: Node, end: int) -> None:
        """The state after the first `end` blocks of a path was saved."""
        assert self._saved is not None
        owner = spans(node, end - 1, end, self.block_tokens)[0][0]
        ends = self._saved.setdefault(owner, [])
        if end not in ends:
            insort(ends, end)

    def _resumable(self, node: Node, end: int) -> int:
        """Return after how many of the first `end` blocks of a path a state was ever saved."""
        assert self._saved is not None
        for owner, low, high in reversed(spans(node, 0, end, self.block_tokens)):
            for saved in reversed(self._saved.get(owner, ())):
                if low < saved <= high:
                    return saved
        return 0

    def _resume(self, node: Node, end: int, tiers: Sequence[Tier]) -> int:
        """Return after how many of the first `end` blocks of a path the deepest state is that tiers hold."""
        size = self.block_tokens
        return max(tier.resume(node, end, size) for tier in tiers if isinstance(tier, StateTier))

    def release(self, node: Node, end: int, now_s: float) -> None:
        """A request that used the first `end` blocks of a path has ended."""
        last_uses = self._last_uses
        if last_uses is None:
            return
        for owner, _, high in spans(node, 0, end, self.block_tokens):
            ends = last_uses.get(owner)
            if ends is None:
                last_uses[owner] = [(high, now_s)]
            else:
                while ends and ends[-1][0] <= high:
                    ends.pop()
                ends.append((high, now_s))

    def gone(self, node: Node, start: int, end: int, now_s: float) -> list[Gone]:
        """Return what is known of a node's blocks [start, end), which no tier holds any longer.

        What was not computed is left out. In a fleet without TTLs they count as used now.
        """
        end = min(end, self._published.known(node) // self.block_tokens)
        last_uses = [] if self._last_uses is None else self._last_uses.get(node, [])
        drops = self._drops.of(node)
        saved = () if self._saved is None else self._saved.get(node, ())
        bounds = {end, *(top for top, _ in last_uses), *(at for drop in drops for at in drop[:2]), *saved}
        found = []
        for at in sorted(at for at in bounds if start < at <= end):
            used_s = max((used_s for top, used_s in last_uses if top >= at), default=now_s)
            tiers = [self._tiers.index(tier) for low, high, tier in drops if low < at <= high]
            found.append(Gone(at, used_s, tiers[0] if tiers else -1, at in saved))
        return found

    def recall(self, node: Node, start: int, gone: Sequence[Gone]) -> None:
        """A node's blocks from `start` on, which are new to it, were there once under another one."""
        end = gone[-1].end * self.block_tokens
        self.ideal.send(node, end)
        self._published.send(node, end)
        if self._has_others:
            self._entered.send(node, end)
        if self._last_uses is not None:
            last_uses = self._last_uses.setdefault(node, [])
            last_uses[:0] = [(each.end, each.used_s) for each in reversed(gone)]
        for each in gone:
            if each.dropped_by >= 0:
                self._drops.add(node, start, each.end, self._tiers[each.dropped_by])
            if each.is_saved:
                self.save_state(node, each.end)
            start = each.end

    def move(self, pieces: Sequence[Piece]) -> None:
        """These are on their way to a tier."""
        for node, start, end, _ in pieces:
            self._moving.setdefault(node, []).append((start, end))

    def settle(self, pieces: Sequence[Piece], dropped_by: Tier | None) -> None:
        """These have arrived, or were dropped by a tier."""
        for node, start, end, _ in pieces:
            ranges = self._moving[node]
            if len(ranges) == 1:
                del self._moving[node]
            else:
                ranges.remove((start, end))
            if dropped_by is not None:
                self._drops.add(node, start, end, dropped_by)

    def refuse(self, pieces: Sequence[Piece], tier: Tier) -> None:
        """A tier had no room for these when they arrived."""
        for node, start, end, _ in pieces:
            self._drops.add(node, start, end, tier)

    def split(
        self, match: Match, tiers: Sequence[Tier], ideal_tokens: int, limit_blocks: int, used_tokens: int
    ) -> tuple[int, ...]:
        """Return the tokens lost to each of `LOST_TO`; they sum to ideal minus used.

        `ideal_tokens` is at least the match's, whose state the tiers must still be in.
        """
        prompt, now_s = match.prompt, match.at_s
        node = prompt.node
        size = self.block_tokens
        chosen = match.tokens - used_tokens
        if ideal_tokens == match.tokens:
            return (0, 0, 0, 0, 0, 0, chosen, 0) if chosen else NO_LOSS
        held = match.tokens // size
        ideal = ideal_tokens // size
        usable = max(held, min(ideal, limit_blocks))
        if self._saved is not None:
            usable = max(held, self._resumable(node, usable))
        visible = max(held, min(usable, self._published.peek(prompt) // size))
        anywhere = self._anywhere(match, held, visible)
        if anywhere < visible and self._is_moving(node, anywhere):
            visible = anywhere
        ttl_s = max(tier.ttl_s for tier in tiers)
        alive = visible if ttl_s == math.inf else self._alive_run(node, held, visible, ttl_s, now_s)
        anywhere = min(anywhere, alive)
        if self._saved is not None:
            # KV without a state behind it cannot be hit, wherever it is held.
            anywhere = max(held, self._resume(node, anywhere, self._tiers))
        in_reach = self._run(node, held, anywhere, tiers, now_s, with_drops=True)
        if self._saved is not None:
            in_reach = max(held, self._resume(node, in_reach, tiers))
        gone = (alive - anywhere) * size
        has_evicted = self._saved is not None or any(tier.counters.evicted_blocks for tier in self._tiers)
        return (
            (ideal - usable) * size,
            (usable - visible) * size,
            (visible - alive) * size,
            gone if has_evicted else 0,
            (anywhere - in_reach) * size,
            (in_reach - held) * size,
            chosen,
            0 if has_evicted else gone,
        )

    def _anywhere(self, match: Match, start: int, end: int) -> int:
        """Return where the run from `start` ends of blocks that some pick of the router could have hit.

        What has never been but where it was decoded counts, too: no memory has let go of it.
        """
        node, now_s = match.prompt.node, match.at_s
        if not self._has_others:
            return self._run(node, start, end, self._tiers, now_s, with_drops=True)
        entered = min(end, max(start, self._entered.peek(match.prompt) // self.block_tokens))
        reach = self._run(node, start, entered, self._asked, now_s, with_drops=True)
        if reach < entered:
            return reach
        return self._run(node, entered, end, self._tiers, now_s, with_drops=True)

    def _run(
        self, node: Node, start: int, end: int, tiers: Sequence[Tier], now_s: float, *, with_drops: bool
    ) -> int:
        """Return where the run from `start` ends of blocks that `tiers` hold, or would but for drops."""
        for owner, low, high in spans(node, start, end, self.block_tokens):
            while low < high:
                reach = self._held_to(owner, low, high, tiers, now_s)
                if with_drops:
                    for drop_start, drop_end, tier in self._drops.of(owner):
                        if drop_start <= low and drop_end > reach and tier in tiers:
                            reach = min(drop_end, high)
                if reach == low:
                    return low
                low = reach
        return end

    def _alive_run(self, node: Node, start: int, end: int, ttl_s: float, now_s: float) -> int:
        """Return where the run from `start` ends of blocks used within the TTL, or held all the same."""
        assert self._last_uses is not None
        for owner, low, high in spans(node, start, end, self.block_tokens):
            ends = self._last_uses.get(owner, ())
            recent = max((top for top, at_s in ends if at_s + ttl_s >= now_s), default=low)
            low = max(low, min(recent, high))
            low = self._run(owner, low, high, self._tiers, now_s, with_drops=False)
            if low < high:
                return low
        return end

    def _held_to(self, owner: Node, start: int, end: int, tiers: Sequence[Tier], now_s: float) -> int:
        """Return how far one tier alone holds a node's blocks from `start` on."""
        reach = start
        for tier in tiers:
            if owner in tier.runs.by_node:
                covered = tier.runs.covered(owner, start, end, now_s, tier.ttl_s)
                if covered and covered[0][0] == start and covered[0][1] > reach:
                    reach = covered[0][1]
        return reach

    def _is_moving(self, node: Node, block: int) -> bool:
        owner = spans(node, block, block + 1, self.block_tokens)[0][0]
        return any(start <= block < end for start, end in self._moving.get(owner, ()))


def _cut(drop: Drop, start: int, end: int) -> list[Drop]:
    """Return what a drop's blocks are without [start, end)."""
    low, high, tier = drop
    parts = ((low, min(high, start), tier), (max(low, end), high, tier))
    return [part for part in parts if part[0] < part[1]]
