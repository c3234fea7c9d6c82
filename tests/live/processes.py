"""A launcher of local processes: the driver's own course of a run, without Ray.

Hosts are processes that may be killed at any time; the coordinator and the emulated fleet live in this one.
Where nobody kills them they may be threads, which start in no time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from typing import Any

from serving import served

from swarm.config.fleet import FleetConfig
from swarm.live.coordinator import Coordinator, CoordinatorPlan
from swarm.live.directed_slots import Order
from swarm.live.driver.launcher import Call, Failed, Lost, Outcome, Returned
from swarm.live.host import Host
from swarm.live.host_plan import HostPlan
from swarm.live.report_outbox import ReportError
from swarm.live.room import room_here
from swarm.records.batch import Batch
from swarm.workload.source import Material

SPAWN = multiprocessing.get_context("spawn")
JOIN_S_MAX = 10.0
NODE = "this machine"


class ProcessLauncher:
    """Starts the processes of one run, and carries what they say while the driver waits."""

    def __init__(
        self, on_batch: Callable[[ProcessLauncher, Batch], None], *, in_threads: bool = False
    ) -> None:
        self.plans: list[HostPlan] = []
        """Of every host that was started, in order."""
        self.coordinator: Coordinator
        self._on_batch = on_batch
        self._in_threads = in_threads
        self._fronts = ExitStack()
        self._hosts: dict[int, LocalHost] = {}
        self._outcomes: dict[Call, Outcome] = {}

    def cpus_count(self) -> int:
        return 2

    def here(self) -> str:
        return NODE

    def start_fronts(self, shares: Sequence[FleetConfig]) -> tuple[str, ...]:
        return tuple(
            f"http://127.0.0.1:{self._fronts.enter_context(served(share, port=0))}" for share in shares
        )

    def start_coordinator(self, plan: CoordinatorPlan) -> LocalCoordinator:
        self.coordinator = Coordinator(plan)
        return LocalCoordinator(self.coordinator, self._outcomes)

    def ship(self, material: Material) -> None:
        self._material = material

    def start_host(self, plan: HostPlan, *, cpus: float, spreads: bool) -> LocalHost:
        assert not spreads, "local processes start none themselves"
        self.plans.append(plan)
        start = _Thread if self._in_threads else SPAWN.Process
        self._hosts[plan.host] = LocalHost(plan, self._material, self._outcomes, start)
        return self._hosts[plan.host]

    def wait(self, calls: Sequence[Call], within_s: float) -> dict[Call, Outcome]:
        until_s = time.monotonic() + within_s
        while True:
            ended = {call: self._outcomes[call] for call in calls if call in self._outcomes}
            left_s = until_s - time.monotonic()
            if left_s <= 0 or (calls and len(ended) == len(calls)):
                return ended
            self._listen(left_s)

    def kill(self, host: int) -> None:
        """End a host as machines end it."""
        self._hosts[host].kill()

    def close(self) -> None:
        for host in self._hosts.values():
            host.kill()
        self._fronts.close()

    def _listen(self, within_s: float) -> None:
        """Take in what hosts say."""
        open_hosts = {host.connection: host for host in self._hosts.values() if not host.is_lost}
        if not open_hosts:
            time.sleep(min(within_s, 0.05))
            return
        for connection in wait_for_any(list(open_hosts), within_s):
            host = open_hosts[connection]
            try:
                kind, value = host.connection.recv()
            except (EOFError, ConnectionError):
                host.lose()
                continue
            if kind == "batch":
                host.send("acknowledged", self.coordinator.receive(value))
                self._on_batch(self, value)
            else:
                host.note(kind, value)


class _Thread(threading.Thread):
    """A host that ends by itself alone."""

    def kill(self) -> None:
        """Leave it to its end."""


class LocalHost:
    """A host's process and its connection."""

    def __init__(
        self, plan: HostPlan, material: Material, outcomes: dict[Call, Outcome], start: Callable[..., Any]
    ) -> None:
        self._outcomes = outcomes
        self._waiting: dict[str, list[Call]] = {"clock": [], "ended": []}
        self.is_lost = False
        self.connection, theirs = SPAWN.Pipe()
        self._process = start(target=run_host, args=(plan, material, theirs))
        self._process.start()
        if not isinstance(self._process, _Thread):
            theirs.close()

    def clock(self) -> Call:
        self.send("clock", None)
        return self._call("clock")

    def room(self) -> Call:
        call = object()
        self._outcomes[call] = Returned(room_here(NODE))
        return call

    def run(self, start_unix_s: float) -> Call:
        self.send("run", start_unix_s)
        return self._call("ended")

    def direct(self, order: Order) -> None:
        self.send("direct", order)

    def stop(self) -> None:
        self.send("stop", None)

    def kill(self) -> None:
        self._process.kill()
        self._process.join(JOIN_S_MAX)

    def fetch_journal(self, into: Path) -> str | None:
        """It is in the run's folder already."""
        return None

    def send(self, kind: str, value: Any) -> None:
        try:
            self.connection.send((kind, value))
        except (BrokenPipeError, ConnectionError):
            self.lose()

    def note(self, kind: str, value: Any) -> None:
        """Note what the host answers to its oldest call of a kind, or that it has failed."""
        if kind == "failed":
            self._end_all(Failed(value))
        else:
            self._outcomes[self._waiting[kind].pop(0)] = Returned(value)

    def lose(self) -> None:
        """Note that its process is gone."""
        self.is_lost = True
        self._end_all(Lost("its process is gone"))

    def _call(self, kind: str) -> Call:
        call = object()
        self._waiting[kind].append(call)
        if self.is_lost:
            self.lose()
        return call

    def _end_all(self, outcome: Outcome) -> None:
        for calls in self._waiting.values():
            self._outcomes.update(dict.fromkeys(calls, outcome))
            calls.clear()


class LocalCoordinator:
    """The coordinator in this process."""

    def __init__(self, coordinator: Coordinator, outcomes: dict[Call, Outcome]) -> None:
        self._coordinator = coordinator
        self._outcomes = outcomes

    def snapshot(self) -> Call:
        return self._returned(self._coordinator.snapshot())

    def unstored(self) -> Call:
        return self._returned(self._coordinator.unstored())

    def retire(self, host: int, epoch: int) -> Call:
        return self._returned(self._coordinator.retire(host, epoch))

    def _returned(self, value: Any) -> Call:
        call = object()
        self._outcomes[call] = Returned(value)
        return call


def run_host(plan: HostPlan, material: Material, connection: Connection) -> None:
    """Be a host: do as the connection says, report over it, and say how it ended."""

    async def until_ended() -> None:
        await _Told(plan, material, connection).until_ended()

    asyncio.run(until_ended())


class _Told:
    def __init__(self, plan: HostPlan, material: Material, connection: Connection) -> None:
        self._host = Host(plan, material)
        self._connection = connection
        self._acknowledged: asyncio.Queue[int] = asyncio.Queue()
        self._start_unix_s: asyncio.Future[float] = asyncio.Future()

    async def until_ended(self) -> None:
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._listen)
        try:
            start_unix_s = await self._start_unix_s
            self._host.begin(start_unix_s)
            unstored = await self._host.run(self._report)
            await self._host.close()
        except Exception as fault:
            self._connection.send(("failed", str(fault)))
            raise
        self._connection.send(("ended", unstored))

    async def _report(self, batch: Batch) -> int:
        try:
            self._connection.send(("batch", batch))
        except ConnectionError as fault:
            raise ReportError(str(fault)) from None
        return await self._acknowledged.get()

    def _listen(self) -> None:
        while self._connection.poll():
            kind, value = self._connection.recv()
            if kind == "clock":
                self._connection.send(("clock", time.time()))
            elif kind == "run":
                self._start_unix_s.set_result(value)
            elif kind == "direct":
                self._host.direct(value)
            elif kind == "stop":
                self._host.stop()
            else:
                self._acknowledged.put_nowait(value)
