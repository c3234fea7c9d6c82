"""Runs and their queue beside a twin that keeps the use of every block."""

from __future__ import annotations

import math
import random

import pytest

from swarm.context.tree import Node
from swarm.kvcache.blocks import PINNED, Piece, Use, Uses, spans
from swarm.kvcache.runs import QUEUE_SLACK, Runs

Block = tuple[Node, int]


class Twin:
    """Blocks of one token each, with their last uses."""

    def __init__(self) -> None:
        self.uses: dict[Block, Use] = {}

    def paint(self, node: Node, start: int, end: int, use: Use, fill: bool) -> None:
        for block in ((node, index) for index in range(start, end)):
            known = self.uses.get(block)
            if fill if known is None else known is PINNED or known.sequence < use.sequence:
                self.uses[block] = use

    def take(self, node: Node, start: int, end: int) -> None:
        for index in range(start, end):
            self.uses.pop((node, index), None)

    def oldest_s(self) -> float:
        return min((use.at_s for use in self.uses.values()), default=math.inf)

    def evict(self, blocks: int) -> list[Block]:
        return self._let_go(self._in_order()[:blocks])

    def expire(self, now_s: float, ttl_s: float) -> list[Block]:
        return self._let_go([block for block in self._in_order() if self.uses[block].at_s + ttl_s < now_s])

    def _in_order(self) -> list[Block]:
        blocks = [block for block, use in self.uses.items() if use is not PINNED]
        return sorted(blocks, key=lambda block: (self.uses[block].sequence, -block[1]))

    def _let_go(self, blocks: list[Block]) -> list[Block]:
        for block in blocks:
            del self.uses[block]
        return blocks


def blocks_of(pieces: list[Piece]) -> list[Block]:
    return [(node, index) for node, start, end, _ in pieces for index in range(end - 1, start - 1, -1)]


def tree(chance: random.Random) -> list[Node]:
    nodes = [Node("0")]
    for name in range(1, 40):
        above = chance.choice(nodes)
        nodes.append(Node(str(name), above, above.start + chance.randrange(1, 4)))
    return nodes


@pytest.mark.parametrize("seed", range(12))
def test_runs_let_go_of_what_a_list_of_blocks_does(seed: int) -> None:
    chance = random.Random(seed)
    nodes, known = tree(chance), Uses()
    uses: list[Use] = []
    runs, twin = Runs(is_queued=True), Twin()
    queue_most, now_s, ttl_s = 0, 0.0, 40.0
    for _ in range(1_500):
        now_s += chance.choice((0.0, 1.0, 2.0))
        match chance.randrange(8):
            case 0:
                blocks = chance.randrange(12)
                assert blocks_of(runs.evict(blocks)) == twin.evict(blocks), f"SEED={seed}"
            case 1:
                assert blocks_of(runs.expire(now_s, ttl_s)) == twin.expire(now_s, ttl_s), f"SEED={seed}"
            case 2:
                node = chance.choice(nodes)
                runs.take(node, node.start, node.start + 2)
                twin.take(node, node.start, node.start + 2)
            case 3 if uses:
                # A use that is known already comes by once more, as from a memory above.
                painted(runs, twin, chance.choice(uses[-30:]), chance, fill=True)
            case 4:
                painted(runs, twin, PINNED, chance, fill=False, node=chance.choice(nodes))
            case _:
                node = chance.choice(nodes)
                is_kept = chance.random() < 0.2
                use = known.keep(now_s, 25.0, node) if is_kept else known.new(now_s, node)
                uses.append(use)
                painted(runs, twin, use, chance, fill=True)
        assert runs.held == len(twin.uses)
        assert runs.pinned == sum(use is PINNED for use in twin.uses.values())
        assert runs.oldest_s() == twin.oldest_s(), f"SEED={seed}"
        queue_most = max(queue_most, len(runs.queue))
    assert QUEUE_SLACK < queue_most <= 2 * len(nodes) * 4 + QUEUE_SLACK


def painted(
    runs: Runs, twin: Twin, use: Use, chance: random.Random, *, fill: bool, node: Node | None = None
) -> None:
    """Let a use be the last one of a stretch of its path, in both."""
    node = use.node if node is None else node
    assert node is not None
    end = node.start + chance.randrange(1, 8)
    start = chance.randrange(end) if chance.random() < 0.3 else 0
    for owner, low, high in spans(node, start, end, 1):
        runs.paint(owner, low, high, use, fill)
        twin.paint(owner, low, high, use, fill)
