"""Swarms without Ray: hosts as plain processes that write journals, and a provider in a thread."""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.live.host import Host, HostPlan
from swarm.load.assignment import slots_of
from swarm.measure.results import Results, results_of
from swarm.provider import Provider
from swarm.records.batch import Batch
from swarm.records.journal import read_batches
from swarm.records.takeover import Past, heard_until, is_lost, past_of, split
from swarm.workload.source import load_scripts, session_index

SPAWN = multiprocessing.get_context("spawn")
FLEET = {
    "cost": {
        "kind": "simple",
        "prefill_tokens_per_s": 5e6,
        "decode_base_s": 0.002,
        "kv_capacity_tokens": 50_000_000,
    }
}
WORKLOAD = {
    "kind": "synthetic",
    "tool_tokens": 300,
    "system_tokens": 100,
    "first_context": {"median": 200, "sigma": 0.3},
    "turns": {"median": 8, "sigma": 0.4, "least": 4, "most": 14},
    "tool_think_s": {"median": 0.08, "sigma": 0.4},
    "human_wait": {"body": {"median": 0.2, "sigma": 0.3}, "tail_share": 0.0},
    "tool_result": {"median": 40, "sigma": 0.4},
    "human_message": {"median": 20, "sigma": 0.4},
    "output": {"median": 12, "sigma": 0.4, "least": 4, "most": 30},
    "high_watermark": 1000,
    "summary": {"median": 40, "sigma": 0.2, "least": 20, "most": 80},
    "subagents": {"chance_per_turn": 0.2, "turns": {"median": 3, "sigma": 0.3, "least": 2, "most": 5}},
}


def experiment(**changes: Any) -> Experiment:
    """Return a small experiment; keys with dots go into its parts."""
    data: dict[str, Any] = {
        "name": "small",
        "workload": dict(WORKLOAD),
        "load": {"agents": 8, "ramp_s": 0.3, "sessions_max": 12, "duration_s": None, "drain_s": 1.0},
        "hosts": {"count": 2, "report_every_s": 0.2},
        "fleet": dict(FLEET),
        "audit": {"loop_lag_p99_s": 60, "send_lag_p99_s": 60},
        "window_s": 1.0,
    }
    for key, value in changes.items():
        part, _, name = key.partition("__")
        if name:
            data.setdefault(part, {})[name] = value
        else:
            data[part] = value
    return validate(Experiment, data, "test")


@contextmanager
def provider(config: Experiment, port: int = 0) -> Iterator[int]:
    """Serve the experiment's fleet from a thread; yield the port."""
    ready: queue.Queue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        server = Provider(config.fleet, host="127.0.0.1", port=port)
        await server.start()
        over = asyncio.Event()
        ready.put((server.port, asyncio.get_running_loop(), over))
        await over.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    found, loop, over = ready.get(timeout=30)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


def aimed(config: Experiment, port: int) -> Experiment:
    """Return the experiment with its target resolved."""
    update = {"urls": (f"http://127.0.0.1:{port}",), "model": "fleet", "bytes_per_token": 4.0}
    return config.model_copy(update={"target": config.target.model_copy(update=update)})


class Local:
    """The hosts of one run as processes of their own, each of which may be killed at any time."""

    def __init__(self, config: Experiment, folder: Path, *, hosts: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.config = config
        self.folder = folder
        self.hosts_count = hosts
        self.start_unix_s = time.time() + 2.0
        self.processes: dict[int, Any] = {}

    @property
    def now_s(self) -> float:
        """The run's time."""
        return time.time() - self.start_unix_s

    def start(self, number: int, *, epoch: int = 0, past: Past | None = None) -> None:
        """Start a host; with a past, one that goes on with it."""
        last = [-1] * epoch
        for batch in self.batches():
            if batch.host == number:
                last[batch.epoch] = max(last[batch.epoch], batch.sequence)
        plan = HostPlan(
            self.config,
            host=number,
            hosts=self.hosts_count,
            epoch=epoch,
            journal=str(self.folder),
            follows=tuple(last),
            past=past,
        )
        process = SPAWN.Process(target=run_host, args=(plan, self.start_unix_s))
        process.start()
        self.processes[number] = process

    def wait(self) -> None:
        """Return when all hosts have ended by themselves."""
        for process in self.processes.values():
            process.join(timeout=60)
            assert process.exitcode == 0

    def wait_for_rows(self, count: int) -> None:
        """Return when the journals hold so many rows."""
        until_s = time.monotonic() + 60
        while sum(split(batch)[0].num_rows for batch in self.batches()) < count:
            assert time.monotonic() < until_s, "the hosts report nothing"
            time.sleep(0.02)

    def kill(self, number: int) -> None:
        """End a host as machines end it."""
        process = self.processes.pop(number)
        process.kill()
        process.join()

    def stop(self) -> None:
        """Tell all hosts that the run is over, wait for their ends, and set the clock back to there."""
        for process in self.processes.values():
            process.terminate()
        self.wait()
        self.start_unix_s = time.time() + 2.0 - heard_until(self.batches(), None)

    def past(self, number: int, *, of_all: bool = False) -> Past:
        """Return what the journals tell of a host's sessions; `of_all`: when none of the hosts is there."""
        slots = self.config.load.agents
        batches = self.batches()
        mine = slots_of(number, self.hosts_count, slots, in_turn=False)
        gone = None if of_all else number
        return past_of(
            batches,
            lambda name: session_index(name) % slots in mine,
            heard_until_s=heard_until(batches, gone),
            is_lost=is_lost(batches, gone),
        )

    def batches(self) -> list[Batch]:
        """Return what is in the journals."""
        return read_batches(sorted(self.folder.glob("*.journal")))

    def settled(self) -> Results:
        """Add up what is in the journals."""
        return results_of(
            self.batches(),
            self.config,
            ended_s=max(self.now_s, 0.1),
            faults=(),
            counters=None,
            sessions_asked_mean=None,
            clock_offsets_s={},
        )


def run_host(plan: HostPlan, start_unix_s: float) -> None:
    """Play a host's share with nobody to report to but its journal."""

    async def acknowledge(batch: Batch) -> int:
        return batch.sequence

    async def play() -> None:
        config = plan.experiment
        host = Host(plan, load_scripts(config.workload, config.seed, config.load.agents))
        host.begin(start_unix_s)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, host.stop)
        await host.run(acknowledge)
        await host.close()

    asyncio.run(play())
