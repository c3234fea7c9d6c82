"""The closed form of a closed loop, held to the fleet that runs every step of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.config.fleet import FleetConfig
from swarm.context.tree import Node
from swarm.fleet.build import build_fleet
from swarm.fleet.events import Finished, FirstToken, FleetRequest
from swarm.streams import stream

REQUESTS_PER_SLOT = 10


@dataclass
class Measured:
    ttft_s: float
    tpot_s: float


def run_loop(
    config: FleetConfig, concurrency: int, prompt: int, output: int, spread: float = 0.2
) -> Measured:
    """Drive a fleet as a benchmark does: lengths within `spread` below the most, the next at completion."""
    fleet = build_fleet(config)
    chance = stream(1, "lengths", "loop")
    sent: dict[int, float] = {}
    first: dict[int, float] = {}
    tokens: dict[int, int] = {}
    ttft: list[float] = []
    tpot: list[float] = []
    total = concurrency * REQUESTS_PER_SLOT

    def send(now_s: float) -> None:
        number = len(sent)
        if number >= total:
            return
        tokens[number] = max(2, round(output * (1.0 - spread * chance.random())))
        length = max(1, round(prompt * (1.0 - spread * chance.random())))
        sent[number] = now_s
        node = Node(f"loop/{number}")
        fleet.submit(
            FleetRequest(number, str(number), str(number), node_prompt(node, length), tokens[number], False),
            now_s,
        )

    for _ in range(concurrency):
        send(0.0)
    while (now_s := fleet.next_event_s()) is not None:
        for event in fleet.advance(now_s):
            if isinstance(event, FirstToken):
                first[event.request_id] = event.at_s
                ttft.append(event.at_s - sent[event.request_id])
            elif isinstance(event, Finished):
                number = event.request_id
                tpot.append((event.at_s - first[number]) / (tokens[number] - 1))
                send(now_s)
    return Measured(float(np.mean(ttft)), float(np.mean(tpot)))


def node_prompt(node: Node, length: int):
    from swarm.context.tree import Prompt

    return Prompt(node, length)
