"""Resident memory of idle agents in one host: benchmarks/idle_agents.py [--agents 5000 20000]

Each agent has had one turn answered by the emulated provider (a process of its own) and waits for its next;
the host's memory before the first session is subtracted. Replies are echoed, so their text is held.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import queue
import time
from pathlib import Path

from swarm.config.experiment import Experiment
from swarm.live.host import Host
from swarm.live.host_plan import HostPlan
from swarm.provider import Provider
from swarm.records.batch import Batch
from swarm.workload.source import Material

SPAWN = multiprocessing.get_context("spawn")
TURNS_PER_S = 400.0


def experiment(agents: int, port: int) -> Experiment:
    ramp_s = agents / TURNS_PER_S
    data = {
        "name": "idle",
        "workload": {
            "kind": "synthetic", "tool_tokens": 300, "system_tokens": 100,
            "first_context": {"median": 300, "sigma": 0.3},
            "output": {"median": 50, "sigma": 0.3, "least": 8},
            "tool_think_s": {"median": 1e6, "sigma": 0.1, "least": 1e5},
            "human_wait": {"body": {"median": 1e6, "sigma": 0.1, "least": 1e5}},
            "subagents": {"chance_per_turn": 0.0},
        },
        "load": {"agents": agents, "ramp_s": ramp_s, "duration_s": ramp_s + 15, "drain_s": 0},
        "target": {"urls": [f"http://127.0.0.1:{port}"], "model": "fleet"},
        "fleet": {"cost": {"kind": "simple", "prefill_tokens_per_s": 1e7, "decode_base_s": 0.001}},
    }  # fmt: skip
    return Experiment.model_validate(data)


def serve(fleet: object, ready: object) -> None:
    async def go() -> None:
        server = Provider(fleet, host="127.0.0.1", port=0)  # type: ignore[arg-type]
        await server.start()
        ready.put(server.port)  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    asyncio.run(go())


def play(agents: int, port: int, answer: object) -> None:
    async def acknowledge(batch: Batch) -> int:
        return batch.sequence

    async def go() -> None:
        config = experiment(agents, port)
        host = Host(
            HostPlan(config, host=0, hosts=1, epoch=0, journal=None, follows=(), takeover=None), Material()
        )
        host.begin(time.time())
        before = resident_bytes()
        running = asyncio.ensure_future(host.run(acknowledge))
        await asyncio.sleep(agents / TURNS_PER_S + 12)
        assert host._ledger is not None
        gauges = host._ledger.take().gauges
        answer.put((resident_bytes() - before, before, gauges.sent, gauges.open_requests))  # type: ignore[attr-defined]
        running.cancel()

    asyncio.run(go())


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[5_000, 20_000])
    ready, answer = SPAWN.Queue(), SPAWN.Queue()
    server = SPAWN.Process(target=serve, args=(experiment(1, 1).fleet, ready), daemon=True)
    server.start()
    port = ready.get(timeout=60)
    for agents in parser.parse_args().agents:
        host = SPAWN.Process(target=play, args=(agents, port, answer), daemon=True)
        host.start()
        try:
            grown, base, sent, still_open = answer.get(timeout=600)
        except queue.Empty:
            print(f"{agents} agents: no answer")
            continue
        host.kill()
        print(
            f"{agents:6d} idle agents  {grown / agents / 1e3:6.1f} kB each  {grown / 1e6:7.1f} MB in all  "
            f"base {base / 1e6:.0f} MB  ({sent} turns sent, {still_open} still open)"
        )
    server.kill()


if __name__ == "__main__":
    main()
