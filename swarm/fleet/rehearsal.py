"""A few agents' requests played on an emulated fleet in virtual time: what its file predicts."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from swarm.config.fleet import FleetConfig
from swarm.context.tree import Prompt
from swarm.fleet.build import build_fleet
from swarm.fleet.events import Finished, FirstToken, FleetRequest, Refused


class Part(NamedTuple):
    """One request of an agent, `think_s` after its last one ended; its first one after the start."""

    think_s: float
    prompt: Prompt
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a request."""

    ttft_s: float
    tpot_s: float | None
    cached_tokens: int | None
    prompt_tokens: int


def rehearse(config: FleetConfig, agents: Sequence[Sequence[Part]]) -> list[Played]:
    """Return what becomes of agents' requests on a fleet with nothing in it; refused ones are left out.

    Raises:
        ConfigError: The configuration makes no fleet.
    """
    fleet = build_fleet(config)
    due = [(parts[0].think_s, agent, 0) for agent, parts in enumerate(agents) if parts]
    heapq.heapify(due)
    under_way: dict[int, tuple[int, int, float]] = {}
    firsts: dict[int, FirstToken] = {}
    played: list[Played] = []
    request_id = 0
    while due or under_way:
        next_s = fleet.next_event_s()
        if due and (next_s is None or due[0][0] <= next_s):
            now_s, agent, index = heapq.heappop(due)
            part = agents[agent][index]
            name = f"agent {agent}"
            fleet.submit(
                FleetRequest(request_id, name, name, part.prompt, part.output_tokens, echo=False), now_s
            )
            under_way[request_id] = (agent, index, now_s)
            request_id += 1
            continue
        assert next_s is not None, "requests are under way, so something is due"
        for event in fleet.advance(next_s):
            if isinstance(event, FirstToken):
                firsts[event.request_id] = event
            elif isinstance(event, Finished | Refused):
                agent, index, sent_s = under_way.pop(event.request_id)
                if isinstance(event, Finished):
                    played.append(_played(firsts.pop(event.request_id), event, sent_s))
                if index + 1 < len(agents[agent]):
                    think_s = agents[agent][index + 1].think_s
                    heapq.heappush(due, (event.at_s + think_s, agent, index + 1))
    return played


def _played(first: FirstToken, end: Finished, sent_s: float) -> Played:
    more = end.output_tokens - 1
    return Played(
        ttft_s=first.at_s - sent_s,
        tpot_s=(end.at_s - first.at_s) / more if more else None,
        cached_tokens=first.cache.cached_tokens,
        prompt_tokens=first.cache.prompt_tokens,
    )
