"""What a report costs the coordinator, by requests in it and by hosts: benchmarks/coordinator.py [--ray]

Each simulated host's batch is made by the real ledger from rows with the spread of a real run. The plain mode
measures the coordinator's CPU time; `--ray` sends the same batches from four actors to one coordinator actor,
once a second for each host, and says how many were acknowledged and how late.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from swarm.config.experiment import Experiment
from swarm.context.tree import root
from swarm.live.clock import RunClock
from swarm.live.coordinator import Coordinator, CoordinatorPlan
from swarm.live.ledger import HostLedger
from swarm.live.loop_lag import LoopLag
from swarm.live.targets.turn import TurnResult
from swarm.live.turn_rows import OpenRequest, row_of
from swarm.measure.window import windows_of
from swarm.records.batch import Batch
from swarm.workload.effects import Agent, Infer

EXPERIMENT = Experiment.model_validate({"name": "reports", "workload": {"kind": "synthetic"}})
SECONDS = 5


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def batches_of(requests: int) -> list[Batch]:
    """Return one host's batches of some seconds, with so many requests each."""
    chance = np.random.default_rng(1)
    ledger = HostLedger(
        clock=RunClock(time.time()), host=0, epoch=0, block_tokens=16, windows=windows_of(EXPERIMENT),
        journal=None, lag=LoopLag(), takeover=None, follows=(), objectives=(),
    )  # fmt: skip
    batches = []
    for second in range(SECONDS):
        for k in range(requests):
            name = f"s{k:06d}"
            agent = Agent(name, name, None, "orchestrator", dict)  # type: ignore[arg-type]
            if second == 0:
                ledger.agent_started(agent, 0.0)
            prompt = root(f"{name}#{second}").extend(30_000)
            infer = Infer(prompt, 100, True)
            at_s = second + float(chance.random())
            request = OpenRequest(agent, second, infer, at_s, at_s, True, False)
            ledger.sent(request)
            first_s = at_s + float(chance.lognormal(-1.5, 1.0))
            result = TurnResult(
                endpoint="http://127.0.0.1:8000", attempts=1, sent_s=at_s, first_token_s=first_s,
                last_token_s=first_s + 1.0, completed_s=first_s + 1.0, prompt_tokens=30_000,
                cached_tokens=29_000, output_tokens=100,
            )  # fmt: skip
            gaps_s = (chance.random(99) / 50).tolist()
            row = row_of(request, result, origin_s=0.0, ideal_tokens=29_000, host=0, gaps_s=gaps_s)
            ledger.ended(infer, row, gaps_s)
        batches.append(ledger.take())
    return batches


def plain(hosts: int, requests: int) -> None:
    batches = batches_of(requests)
    with tempfile.TemporaryDirectory() as folder:
        coordinator = Coordinator(CoordinatorPlan.of(EXPERIMENT, folder, epoch=0))
        costs = []
        for batch in batches:
            before_s = cpu_s()
            for host in range(hosts):
                coordinator.receive(replace(batch, host=host))
            coordinator.snapshot()
            costs.append(cpu_s() - before_s)
        written = sum(path.stat().st_size for path in Path(folder).iterdir())
    core = statistics.median(costs)
    size = statistics.mean(len(batch.rows) + len(batch.windows) + len(batch.itl) for batch in batches)
    print(
        f"{hosts:6d} hosts x {requests:5d} requests/s  {core / hosts * 1e6:7.0f} us a report  "
        f"{core:6.3f} core  {size / 1e3:7.1f} kB a report  {written / SECONDS / 1e6:6.1f} MB/s to disk"
    )


def over_ray(hosts: int, requests: int, senders: int) -> None:
    import ray

    from swarm.cluster.actors import RemoteCoordinator

    @ray.remote(num_cpus=0)
    class Sender:
        def __init__(self, coordinator: object, first: int, count: int, requests: int) -> None:
            self._coordinator = coordinator
            self._hosts = range(first, first + count)
            self._batches = batches_of(requests)

        def ready(self) -> bool:
            return True

        async def run(self, start_s: float) -> list[float]:
            """Send each host's report once a second, at its own moment; return the round trips."""
            trips: list[float] = []

            async def send(host: int, at_s: float, batch: Batch) -> None:
                await asyncio.sleep(max(0.0, at_s - time.time()))
                await self._coordinator.receive.remote(batch)  # type: ignore[attr-defined]
                trips.append(time.time() - at_s)

            await asyncio.gather(
                *(
                    send(host, start_s + second + (host * 0.618) % 1.0, replace(batch, host=host))
                    for second, batch in enumerate(self._batches)
                    for host in self._hosts
                )
            )
            return trips

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        coordinator = RemoteCoordinator.remote(CoordinatorPlan.of(EXPERIMENT, folder, epoch=0))  # type: ignore[attr-defined]
        share = hosts // senders
        actors = [Sender.remote(coordinator, k * share, share, requests) for k in range(senders)]  # type: ignore[attr-defined]
        ray.get([actor.ready.remote() for actor in actors])
        start_s = time.time() + 1.0
        trips = np.concatenate(ray.get([actor.run.remote(start_s) for actor in actors]))
        took_s = time.time() - start_s
        taken = ray.get(coordinator.snapshot.remote()).batches
    p50, p99 = np.quantile(trips, [0.5, 0.99])
    print(
        f"over Ray: {hosts} hosts x {requests} requests/s: {taken} of {share * senders * SECONDS} reports in "
        f"{took_s:.1f} s, acknowledged after {p50 * 1e3:.0f} ms (p50), {p99 * 1e3:.0f} ms (p99)"
    )
    ray.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=10)
    arguments = parser.parse_args()
    if arguments.ray:
        over_ray(arguments.hosts, arguments.requests, senders=4)
        return
    for hosts, requests in ((100, 10), (1000, 10), (1000, 1), (1000, 100), (100, 1000)):
        plain(hosts, requests)


if __name__ == "__main__":
    main()
