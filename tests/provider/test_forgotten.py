"""What is lost has the same causes where the trie forgets what nobody holds as where it forgets nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.config.fleet import FleetConfig
from swarm.context.tree import Node, Prompt
from swarm.fleet.build import build_fleet
from swarm.fleet.events import Event, FirstToken, FleetRequest
from swarm.hit_names import LOST_TO
from swarm.kvcache.loss import Gone
from swarm.provider.fingerprints import PRINT_BYTES
from swarm.provider.forgotten import ENTRY_BYTES, WAYS, Forgotten
from swarm.provider.trie import ContentTrie

BLOCK_TOKENS = 4
COST = {
    "kind": "simple",
    "prefill_tokens_per_s": 1e5,
    "decode_base_s": 1e-4,
    "kv_bytes_per_token": 1000.0,
    "kv_capacity_tokens": 1200,
}
DRAM = {"name": "dram", "capacity_gib": 1.0, "write_gib_per_s": 3e-5, "write_queue_gib": 1e-5}
FLEETS: dict[str, dict[str, Any]] = {
    "capacity": {},
    "ttl": {"tiers": [{"name": "hbm", "ttl_s": 9.0}]},
    "routing": {"replicas": [{"count": 2}], "router": "round_robin"},
    "capacity of states": {"states": {"blocks": 3}},
    "dropped_write": {"tiers": [{"name": "hbm"}, DRAM]},
}


class Served:
    """A fleet in virtual time behind a trie."""

    def __init__(self, settings: dict[str, Any], *, remembered_bytes_max: int, table_bytes: int) -> None:
        config = FleetConfig.model_validate({"block_tokens": BLOCK_TOKENS, "cost": COST, **settings})
        self._fleet = build_fleet(config)
        self.trie = ContentTrie(
            block_tokens=BLOCK_TOKENS,
            remembered_bytes_max=remembered_bytes_max,
            forgotten=Forgotten(self, bytes_max=table_bytes),
        )
        self._now_s = 0.0

    def gone(self, node: Node, start: int, end: int) -> list[Gone]:
        return self._fleet.gone(node, start, end, self._now_s)

    def recall(self, node: Node, start: int, gone: list[Gone]) -> None:
        self._fleet.recall(node, start, gone)

    def lost(self, requests: list[tuple[np.ndarray, float]]) -> list[tuple[int, ...]]:
        """Return what each request lost to each cause, and at last what it hit."""
        found: dict[int, tuple[int, ...]] = {}
        for number, (content, now_s) in enumerate(requests):
            while (due_s := self._fleet.next_event_s()) is not None and due_s <= now_s:
                found |= _uses(self._fleet.advance(due_s))
            self._fleet.advance(now_s)
            self._now_s = now_s
            node = self.trie.place(b"text", content.astype(np.uint64).tobytes())
            prompt = Prompt(node, len(content) * BLOCK_TOKENS)
            self._fleet.submit(FleetRequest(number, "s", "", prompt, 2, True), now_s)
            self.trie.forget(self._fleet.held_tokens, 3)
            self.trie.audit()
        while (due_s := self._fleet.next_event_s()) is not None:
            found |= _uses(self._fleet.advance(due_s))
        return [found[number] for number in range(len(requests))]


def _uses(events: list[Event]) -> dict[int, tuple[int, ...]]:
    first = [event for event in events if isinstance(event, FirstToken)]
    return {event.request_id: (*event.cache.lost_to, event.cache.cached_tokens) for event in first}


def asked(seed: int) -> list[tuple[np.ndarray, float]]:
    """Return contents, as numbers of blocks, and when they are sent: conversations taken up again."""
    chance = np.random.default_rng(seed)
    tails = [np.concatenate([[1, 2, 3], chance.integers(10, 2**60, 57)]) for _ in range(12)]
    now_s, found = 0.0, []
    for _ in range(300):
        now_s += float(chance.exponential(1.0))
        found.append((tails[int(chance.integers(12))][: int(chance.integers(4, 61))], now_s))
    return found


@pytest.mark.parametrize("cause", FLEETS)
def test_what_was_forgotten_is_lost_to_the_same_cause(cause: str) -> None:
    requests = asked(seed=len(cause))
    forgetful = Served(FLEETS[cause], remembered_bytes_max=0, table_bytes=1 << 20)
    found = forgetful.lost(requests)
    expected = Served(FLEETS[cause], remembered_bytes_max=1 << 40, table_bytes=0).lost(requests)
    assert found == expected
    assert sum(each[LOST_TO.index(cause.split()[0])] for each in found) > 0
    assert sum(each[-1] for each in found) > 0


def test_long_content_that_is_left_in_its_midst_is_told_short_by_a_32nd_at_most() -> None:
    chance = np.random.default_rng(3)
    told: dict[Node, int] = {}

    class Fleet:
        def gone(self, node: Node, start: int, end: int) -> list[Gone]:
            return [Gone(end, 1.0, -1)]

        def recall(self, node: Node, start: int, gone: list[Gone]) -> None:
            told[node] = gone[-1].end

    forgotten = Forgotten(Fleet(), bytes_max=1 << 22)
    content = chance.integers(0, 2**63, 20_000, dtype=np.uint64)
    forgotten.note(Node("a"), 7, 0, content.tobytes())
    for shared in [1, 63, 64, 1000, 1001, 7777, 19_999, 20_000]:
        asked = np.concatenate([content[:shared], chance.integers(0, 2**63, 500, dtype=np.uint64)])
        node = Node(f"b{shared}")
        forgotten.recall(node, 7, 0, asked.tobytes())
        assert shared * 31 / 32 <= told[node] <= shared
    node = Node("c")
    forgotten.recall(node, 8, 0, content.tobytes())
    assert node not in told


def test_a_full_table_keeps_what_was_forgotten_last() -> None:
    used_s = 0.0
    told: list[Node] = []

    class Fleet:
        def gone(self, node: Node, start: int, end: int) -> list[Gone]:
            return [Gone(end, used_s, -1)]

        def recall(self, node: Node, start: int, gone: list[Gone]) -> None:
            told.append(node)

    forgotten = Forgotten(Fleet(), bytes_max=100 * WAYS * ENTRY_BYTES)
    for number in range(5_000):
        used_s = float(number)
        forgotten.note(Node("a"), 0, 0, number.to_bytes(PRINT_BYTES, "little"))
    for number in (*range(1000), *range(4_900, 5_000)):
        forgotten.recall(Node(str(number)), 0, 0, number.to_bytes(PRINT_BYTES, "little"))
    assert [int(node.name) for node in told] == list(range(4_900, 5_000))
