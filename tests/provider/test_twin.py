"""A served fleet and the same fleet in virtual time: one request at a time, the same hits under eviction."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from swarm.context.render import text_alphabet
from swarm.context.tree import Prompt, root
from swarm.fleet.build import build_fleet
from swarm.fleet.events import FirstToken, FleetRequest
from swarm.provider.limits import LIMITS
from swarm.provider.trie import BRANCH_BYTES


def asks(seed: int) -> list[tuple[Prompt, int]]:
    """Return the requests of six agents in turn: they grow, pull back, branch off a shared prefix."""
    chance = np.random.default_rng(seed)
    shared = root("shared").extend(24)
    agents = [shared.branch(f"agent {number}") for number in range(6)]
    found = []
    for turn in range(120):
        number = int(chance.integers(6))
        prompt = agents[number].extend(int(chance.integers(1, 20)))
        if chance.random() < 0.1:
            prompt = Prompt(agents[number].node, 24 + (agents[number].length - 24) // 2).branch(f"b{turn}")
            prompt = prompt.extend(5)
        elif prompt.length > 110:
            prompt = shared.branch(f"again {turn}").extend(7)
        agents[number] = prompt
        found.append((prompt, int(chance.integers(1, 9))))
    return found


@pytest.mark.parametrize(
    ("capacity", "remembered"),
    [(150, LIMITS.remembered_bytes_max), (150, 0), (400, 3 * BRANCH_BYTES), (1000, 0)],
)
def test_one_at_a_time_hits_and_losses_are_the_same_by_request(
    desk: SimpleNamespace, capacity: int, remembered: int
) -> None:
    config = desk.fleet(cost={"kv_capacity_tokens": capacity})
    requests = asks(capacity)

    async def live() -> list[Any]:
        alphabet = text_alphabet(4.0)
        found = []
        async with desk.serving(config, remembered_bytes_max=remembered) as served:
            for prompt, tokens in requests:
                text = b"".join(alphabet.render(prompt)).decode()
                body = {"prompt": text, "max_tokens": tokens}
                usage = (await served.client.post("/v1/completions", json=body)).json()["usage"]
                details = usage["prompt_tokens_details"]
                lost_to = tuple(details["lost_tokens_by_cause"])
                found.append((usage["prompt_tokens"], details["cached_tokens"], lost_to))
        return found

    fleet = build_fleet(config)
    simulated = []
    for number, (prompt, tokens) in enumerate(requests):
        fleet.submit(FleetRequest(number, "s", "a", prompt, tokens, False), float(number))
        while (due_s := fleet.next_event_s()) is not None:
            events = fleet.advance(due_s)
            uses = [event.cache for event in events if isinstance(event, FirstToken)]
            simulated += [(use.prompt_tokens, use.cached_tokens, use.lost_to) for use in uses]
    assert desk.run(live) == simulated
    hits = sum(cached for _, cached, _ in simulated)
    assert 0 < hits < sum(length for length, *_ in simulated)
