"""The closed form of a closed loop, held to the fleet that runs every step of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from swarm.config.fleet import (
    BackendName,
    FleetConfig,
    ParallelismConfig,
    ReplicaGroupConfig,
    RooflineCostConfig,
)
from swarm.context.tree import Node, Prompt
from swarm.fleet.build import build_fleet
from swarm.fleet.cost.closed_loop import Loop, pace_of
from swarm.fleet.cost.rank_cost import rank_cost
from swarm.fleet.events import Finished, FirstToken, FleetRequest
from swarm.streams import stream

REQUESTS_PER_SLOT = 10
SPREAD = 0.2
"""Lengths are drawn from within this share below the longest: all alike, the loop would keep in step."""


@dataclass
class Measured:
    ttft_s: float
    tpot_s: float


def run_loop(
    config: FleetConfig, concurrency: int, prompt: int, output: int, spread: float = SPREAD
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
            FleetRequest(number, str(number), str(number), Prompt(node, length), tokens[number], False),
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


@pytest.mark.parametrize(
    ("model", "gpu", "tp", "backend"),
    [("Llama-3.3-70B", "H100", 4, "vllm"), ("DeepSeek-V3", "B200", 8, "sglang")],
)
@pytest.mark.parametrize(
    ("concurrency", "prompt", "output"),
    [(4, 1024, 1024), (8, 1024, 128), (8, 8192, 1024), (32, 1024, 1024), (64, 8192, 1024)],
)
def test_the_closed_form_is_what_the_step_loop_comes_to(
    model: str, gpu: str, tp: int, backend: BackendName, concurrency: int, prompt: int, output: int
) -> None:
    config = FleetConfig(
        cost=RooflineCostConfig(model=model, kv_precision="fp8", backend=backend),
        replicas=(ReplicaGroupConfig(gpu=gpu, parallelism=ParallelismConfig(tp=tp)),),
    )
    measured = run_loop(config, concurrency, prompt, output)
    rank = rank_cost(config, config.replicas[0])
    mean = 1 - SPREAD / 2
    loop = Loop(concurrency, round(prompt * mean), round(output * mean), 8192, REQUESTS_PER_SLOT)
    pace = pace_of(rank.cost, rank.entry, loop)
    assert pace.tpot_s == pytest.approx(measured.tpot_s, rel=0.12)
    assert pace.ttft_s == pytest.approx(measured.ttft_s, rel=0.2)
