"""CPU of the fleet alone, a request: a closed loop of agents with ~100k-token contexts over three tiers.

    python benchmarks/fleet.py [--requests 20000] [--agents 100 1000 10000]
        [--router prefix_aware] [--profile]

The load generator's own CPU (draws, prompts, a heap of agents) is inside; goal <= 60 us a request at 1,000
agents, and <= 2 x from 100 to 10,000.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import time
from heapq import heappop, heappush

import numpy as np

from swarm.config.fleet import FleetConfig, ReplicaGroupConfig, SimpleCostConfig, TierConfig
from swarm.context.tree import Prompt, root
from swarm.fleet.build import build_fleet
from swarm.fleet.events import Finished, FleetRequest, Refused

SHARED_TOKENS = 15_000
DRAWS = 1 << 16


def config(agents: int, router: str) -> FleetConfig:
    """Return a fleet of four replicas and three tiers whose load does not depend on the agents' number."""
    scale = agents / 1000
    return FleetConfig(
        router=router,
        cost=SimpleCostConfig(
            prefill_tokens_per_s=100_000 * scale,
            decode_base_s=0.01,
            decode_per_context_token_s=5e-10 / scale,
            kv_bytes_per_token=65_536,
            kv_capacity_tokens=int(14_000_000 * scale),
        ),
        replicas=(
            ReplicaGroupConfig(
                count=4, max_sequences=int(512 * max(1, scale)), max_batched_tokens=int(8192 * max(1, scale))
            ),
        ),
        tiers=(
            TierConfig(name="hbm"),
            TierConfig(
                name="dram",
                capacity_gib=2000 * scale,
                read_gib_per_s=200 * scale,
                write_gib_per_s=200 * scale,
            ),
            TierConfig(
                name="nvme",
                scope="cluster",
                capacity_gib=8000 * scale,
                read_gib_per_s=200 * scale,
                write_gib_per_s=100 * scale,
                read_latency_s=0.0005,
            ),
        ),
    )


class Load:
    """Agents that think, ask, and start over at a watermark."""

    def __init__(self, agents: int) -> None:
        rng = np.random.default_rng(7)
        self.think_s = np.exp(rng.normal(np.log(11), 0.8, DRAWS)).tolist()
        self.new_tokens = np.exp(rng.normal(np.log(500), 1.0, DRAWS)).astype(int).clip(10, 40_000).tolist()
        self.output_tokens = np.exp(rng.normal(np.log(200), 0.8, DRAWS)).astype(int).clip(8, 4000).tolist()
        shared = root("system").extend(SHARED_TOKENS)
        start = rng.integers(40_000, 160_000, agents).tolist()
        self.prompts = [shared.branch(f"{i}#0").extend(start[i] - SHARED_TOKENS) for i in range(agents)]
        self.shared = shared
        self.cycles = [0] * agents

    def next(self, agent: int, draw: int) -> Prompt:
        prompt = self.prompts[agent].extend(self.new_tokens[draw])
        if prompt.length > 160_000:
            self.cycles[agent] += 1
            prompt = self.shared.branch(f"{agent}#{self.cycles[agent]}").extend(30_000)
        self.prompts[agent] = prompt
        return prompt


def run(agents: int, requests: int, router: str) -> tuple[float, str]:
    """Return CPU seconds a request after a warm-up of two requests an agent."""
    load = Load(agents)
    fleet = build_fleet(config(agents, router))
    heap: list[tuple[float, int]] = [(load.think_s[i % DRAWS] * 3, i) for i in range(agents)]
    heap.sort()
    flights: dict[int, tuple[int, Prompt, int]] = {}
    submitted = finished = 0
    warm = 2 * agents
    total = warm + requests
    cpu_s, started_s, now_s = 0.0, 0.0, 0.0
    while finished < total:
        if finished >= warm and not started_s:
            started_s, cpu_s = now_s, time.process_time()
        due_s = fleet.next_event_s()
        if due_s is None or (heap and heap[0][0] < due_s):
            now_s, agent = heappop(heap)
            events = fleet.advance(now_s)
            draw = submitted % DRAWS
            submitted += 1
            prompt, output = load.next(agent, draw), load.output_tokens[draw]
            flights[submitted] = (agent, prompt, output)
            name = f"{agent}"
            fleet.submit(FleetRequest(submitted, name, name, prompt, output, True), now_s)
        else:
            now_s = due_s
            events = fleet.advance(now_s)
        for event in events:
            if isinstance(event, Finished | Refused):
                finished += 1
                agent, prompt, output = flights.pop(event.request_id)
                load.prompts[agent] = prompt.extend(output)
                heappush(heap, (event.at_s + load.think_s[event.request_id % DRAWS], agent))
    cpu_s = time.process_time() - cpu_s
    simulated_s = now_s - started_s
    hit = sum(rank.queue.hit_tokens for rank in fleet.ranks) / sum(
        rank.queue.query_tokens for rank in fleet.ranks
    )
    running = sum(len(rank.open) for rank in fleet.ranks)
    preemptions = sum(rank.preemptions for rank in fleet.ranks)
    fleet.audit()
    return cpu_s / requests, (
        f"{requests / simulated_s:8.1f} requests/s, hit rate {hit:.3f}, {running} running at the end, "
        f"{preemptions} preemptions, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--agents", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--router", default="prefix_aware")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    for agents in options.agents:
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        cpu_s, note = run(agents, options.requests, options.router)
        profile.disable()
        print(f"{agents:6d} agents: {cpu_s * 1e6:6.1f} us a request; {note}", flush=True)
        if options.profile:
            pstats.Stats(profile).sort_stats("cumtime").print_stats(60)


if __name__ == "__main__":
    main()
