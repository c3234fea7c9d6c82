"""CPU of one lookup-and-insert in the stretch cache, on recorded agent sessions played all at once.

    python benchmarks/cache.py TRACES [--capacity-tokens 5000000]

Each prompt is looked up, admitted, published and released in one memory with LRU, as a replica's HBM does for
a request without decoding; eviction included. Goal: <= 30 us a prompt.
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path

from swarm.config.target import RetryConfig
from swarm.config.workload import ReplayConfig
from swarm.context.tree import Prompt
from swarm.fleet.events import Event, Finished, FleetRequest, Refused
from swarm.kvcache.blocks import Uses
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.policy import WRITE_THROUGH
from swarm.kvcache.rules import CacheRules
from swarm.kvcache.tier import Tier, TierSpec
from swarm.sim.kernel import Kernel, SimulatedRequest
from swarm.workload.effects import Agent
from swarm.workload.source import load_scripts, open_source

BLOCK_TOKENS = 64


class Recorder:
    """A fleet that answers at once and remembers what it was asked, and the observer of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, Prompt]] = []
        self._events: list[Event] = []

    def submit(self, request: FleetRequest, now_s: float) -> None:
        self.asked.append((now_s, request.prompt))
        self._events.append(Finished(now_s, request.request_id, request.output_tokens, 0.0, 0.0))

    def cancel(self, request_id: int, now_s: float) -> None:
        raise AssertionError("nothing is given up here")

    def advance_to_event(self, until_s: float) -> list[Event]:
        events, self._events = self._events, []
        return events

    def close(self) -> None: ...

    def agent_started(self, agent: Agent, at_s: float) -> None: ...

    def agent_ended(self, agent: Agent, at_s: float) -> None: ...

    def agent_stopped(self, agent: Agent, at_s: float) -> None: ...

    def request_sent(self, at_s: float) -> None: ...

    def request_ended(self, request: SimulatedRequest, end: Finished | Refused) -> None: ...


def prompts(traces: Path) -> list[tuple[float, Prompt]]:
    """Return every prompt of every session, all sessions started at once, in order of time."""
    config = ReplayConfig(path=traces, replies="planned", shared_prefix=False)
    source = open_source(config, 1, load_scripts(config, 1, 1))
    recorder = Recorder()
    kernel = Kernel(
        recorder,
        recorder,
        retry=RetryConfig(),
        seed=1,
        admission=None,
        watch=None,
        breakpoints=None,
        idle_max_s=None,
    )
    assert source.count is not None
    for index in range(source.count):
        kernel.start(source.session(index), 0.0)
    kernel.run(float("inf"))
    return recorder.asked


def cpu_s(asked: list[tuple[float, Prompt]], capacity_tokens: int | None) -> tuple[float, float]:
    """Return CPU seconds a prompt, and the hit rate."""
    spec = TierSpec(
        name="hbm",
        capacity_blocks=None if capacity_tokens is None else capacity_tokens // BLOCK_TOKENS,
        ttl_s=None,
        scope="replica",
        inclusive=False,
        policy=WRITE_THROUGH,
        read_bytes_per_s=None,
        write_bytes_per_s=None,
        read_latency_s=0.0,
        write_latency_s=0.0,
        write_policy="drop",
        write_queue_bytes=float("inf"),
    )
    rules = CacheRules(
        block_tokens=BLOCK_TOKENS, block_bytes=BLOCK_TOKENS, hit_leaves_a_token=False, partial_blocks=False
    )
    cache = Hierarchy(tiers=[Tier(spec)], rules=rules, uses=Uses(), losses=None, states=None)
    hits = tokens = 0
    gc.collect()
    started_s = time.process_time()
    for at_s, prompt in asked:
        match = cache.lookup(prompt, at_s)
        admission = cache.admit(match, at_s, use_tokens=None, ideal_tokens=None)
        if admission.handle is not None:
            cache.release(admission.handle, at_s, prompt.length)
        hits += match.tokens
        tokens += prompt.length
    return (time.process_time() - started_s) / len(asked), hits / tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--capacity-tokens", type=int, nargs="+", default=[1_000_000, 5_000_000])
    options = parser.parse_args()
    asked = prompts(options.traces)
    mean = sum(prompt.length for _, prompt in asked) / len(asked)
    print(f"{len(asked)} prompts, mean {mean:,.0f} tokens")
    for capacity in (*options.capacity_tokens, None):
        seconds, rate = cpu_s(asked, capacity)
        print(
            f"capacity {capacity or 'unlimited':>10}: {seconds * 1e6:5.1f} us a prompt, hit rate {rate:.4f}"
        )


if __name__ == "__main__":
    main()
