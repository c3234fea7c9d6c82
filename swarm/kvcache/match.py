"""The longest prefix of a prompt that a replica can reach, each block at the first tier that holds it."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.context.tree import Node, Prompt
from swarm.kvcache.blocks import spans
from swarm.kvcache.tier import Tier


class Part:
    """Blocks [start, end) of a node that are served by tier number `tier` of the hierarchy."""

    __slots__ = ("end", "node", "start", "tier")

    def __init__(self, tier: int, node: Node, start: int, end: int) -> None:
        self.tier = tier
        self.node = node
        self.start = start
        self.end = end


class Match:
    """What a prompt would hit at one moment."""

    __slots__ = ("at_s", "by_tier", "changes", "parts", "prompt", "tokens")

    def __init__(
        self, prompt: Prompt, at_s: float, by_tier: list[int], parts: list[Part], changes: int
    ) -> None:
        self.prompt = prompt
        self.at_s = at_s
        self.by_tier = by_tier
        """Tokens by tier, in the hierarchy's order. HBM's come first on the path."""
        self.tokens = 0
        for tokens in by_tier:
            self.tokens += tokens
        self.parts = parts
        """What lower tiers serve, in path order."""
        self.changes = changes
        """What `Uses.changes` was."""


def hbm_reach(hbm: Tier, node: Node, end: int, block_tokens: int, now_s: float) -> int:
    """Return how many of the first `end` blocks of a path are in HBM.

    HBM holds a prefix of each path, its parts used the less recently the deeper they lie: the first node
    with a live run, seen from the path's end, tells the whole hit.
    """
    by_node = hbm.runs.by_node
    ttl_s = hbm.ttl_s
    above: Node | None = node
    while above is not None:
        first = above.start // block_tokens
        if first < end:
            runs = by_node.get(above)
            if runs is not None:
                for _, reach, use in reversed(runs):
                    if use.at_s + ttl_s >= now_s:
                        return reach if reach < end else end
            end = first
        above = above.parent
    return 0


def lower_parts(
    tiers: Sequence[Tier], node: Node, start: int, end: int, block_tokens: int, now_s: float
) -> list[Part]:
    """Return who serves the run of blocks from `start` on, up to the first one that nobody holds."""
    parts: list[Part] = []
    is_own = node.start // block_tokens <= start
    owners = [(node, start, end)] if is_own else spans(node, start, end, block_tokens)
    for owner, low, high in owners:
        for part in _serve(tiers, owner, low, high, now_s):
            if part.start != low:
                return parts
            low = part.end
            parts.append(part)
        if low < high:
            break
    return parts


def cut_parts(parts: list[Part], end: int) -> list[Part]:
    """Return what parts are below block `end`."""
    return [Part(part.tier, part.node, part.start, min(part.end, end)) for part in parts if part.start < end]


def _serve(tiers: Sequence[Tier], node: Node, start: int, end: int, now_s: float) -> list[Part]:
    """Return who serves what of a node's blocks [start, end), by place; gaps are served by nobody."""
    parts: list[Part] = []
    for index in range(1, len(tiers)):
        tier = tiers[index]
        runs = tier.runs.by_node.get(node)
        if runs is None:
            continue
        low, high, use = runs[-1]
        if low > start or use.at_s + tier.ttl_s < now_s:
            return parts + _search(tiers, index, node, start, end, now_s)
        # All that this tier has of it is in its last run, as is usual.
        if high > start:
            reach = high if high < end else end
            parts.append(Part(index, node, start, reach))
            start = reach
            if start == end:
                break
    return parts


def _search(tiers: Sequence[Tier], first: int, node: Node, start: int, end: int, now_s: float) -> list[Part]:
    """Return who of the tiers from `first` on serves what of a node's blocks [start, end), by place."""
    gaps = [(start, end)]
    parts: list[Part] = []
    for index in range(first, len(tiers)):
        tier = tiers[index]
        if node not in tier.runs.by_node:
            continue
        left: list[tuple[int, int]] = []
        for low, high in gaps:
            for covered_start, covered_end in tier.runs.covered(node, low, high, now_s, tier.ttl_s):
                parts.append(Part(index, node, covered_start, covered_end))
                if covered_start > low:
                    left.append((low, covered_start))
                low = covered_end
            if low < high:
                left.append((low, high))
        if not left:
            break
        gaps = left
    parts.sort(key=_start)
    return parts


def _start(part: Part) -> int:
    return part.start
