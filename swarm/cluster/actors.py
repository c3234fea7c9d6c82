"""Thin actors around plain classes; every decision is in the class.

A process imports what its own actor runs, and no more: all of it would take each of them a second of CPU.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from swarm.live import collector
from swarm.live.report_outbox import ReportError
from swarm.live.room import Room, raise_file_limit, room_here
from swarm.live.spread_agents import ProcessLost, SpreadAgents

if TYPE_CHECKING:
    from swarm.cluster.salvage import Whereabouts
    from swarm.config.fleet import FleetConfig
    from swarm.live.coordinator import CoordinatorPlan, Snapshot
    from swarm.live.directed_slots import Order
    from swarm.live.host_plan import HostPlan
    from swarm.records.batch import Batch
    from swarm.records.takeover import Takeover
    from swarm.workload.effects import Agent, Ended


@ray.remote(num_cpus=0)
class RemoteProvider:
    """The emulated provider in a process of its own."""

    async def start(self, config: FleetConfig, host: str | None, port: int) -> str:
        """Listen on `host`, or this node's address, and a port (0: a free one); return the base URL."""
        from swarm.provider import Provider

        raise_file_limit()
        address = host or ray.util.get_node_ip_address()
        self._provider = Provider(config, host=address, port=port)
        await self._provider.start()
        collector.settle()
        return f"http://{address}:{self._provider.port}"

    async def stop(self) -> None:
        """Close the server."""
        await self._provider.close()


@ray.remote(num_cpus=0)
class RemoteCoordinator:
    """A Coordinator in a process of its own."""

    def __init__(self, plan: CoordinatorPlan) -> None:
        from swarm.live.coordinator import Coordinator

        self._coordinator = Coordinator(plan)

    def new_host(self) -> int:
        """Return a number that no host of the run has."""
        return self._coordinator.new_host()

    def retire(self, host: int, epoch: int) -> int:
        """Take no more batches of a host's epochs up to this one; return the last sequence taken of it."""
        return self._coordinator.retire(host, epoch)

    def takeover(self, session: str, host: int) -> Takeover:
        """Return what has been reported of a session, of which this host was lost."""
        return self._coordinator.takeover(session, host)

    def receive(self, batch: Batch) -> int:
        """Take a batch; return the sequence acknowledged."""
        return self._coordinator.receive(batch)

    def snapshot(self) -> Snapshot:
        """Return the run's state as last reported."""
        return self._coordinator.snapshot()

    def unstored(self) -> tuple[Batch, ...]:
        """Return the batches that were taken and that the journal refuses."""
        return self._coordinator.unstored()


@ray.remote(num_cpus=0, concurrency_groups={"control": 4})
class RemoteHost:
    """A Host in a process of its own; `control` answers while it runs.

    `spreads` gives every sub-agent an actor of its own.
    """

    def __init__(self, plan: HostPlan, coordinator: Any, run_id: str, spreads: bool, *pieces: bytes) -> None:
        from swarm.cluster.salvage import journal_folder
        from swarm.cluster.ship import receive
        from swarm.live.host import Host

        raise_file_limit()
        if plan.journal is not None:
            plan = replace(plan, journal=journal_folder(plan.journal, run_id))
        self._plan = plan
        self._coordinator = coordinator
        self._host = Host(plan, receive(pieces))
        self._spread: SpreadAgents | None = None
        if spreads:
            self._spread = SpreadAgents(
                plan, CoordinatorActor(coordinator), lambda child: AgentActor(child, coordinator, run_id)
            )

    @ray.method(concurrency_group="control")
    async def clock(self) -> float:
        """Return this machine's wall clock in Unix seconds; answers once the host is made."""
        return time.time()

    @ray.method(concurrency_group="control")
    async def room(self) -> Room:
        """Return what this node has to give."""
        return room_here(ray.util.get_node_ip_address())

    @ray.method(concurrency_group="control")
    async def whereabouts(self) -> Whereabouts:
        """Return where this host runs and writes."""
        from swarm.cluster.salvage import Whereabouts

        name = f"host-{self._plan.host:05d}-{self._plan.epoch}.journal"
        node = ray.get_runtime_context().get_node_id()
        return Whereabouts(node, os.getpid(), str(Path(self._plan.journal or "") / name))

    async def run(self, start_unix_s: float) -> tuple[Batch, ...]:
        """Play the host's share of the sessions to the end; return the batches that nobody has stored."""
        self._begin(start_unix_s)
        unstored = await self._host.run(self._report)
        await self._host.close()
        return unstored

    async def run_agent(self, agent: Agent, start_unix_s: float, at_s: float) -> Ended:
        """Run one agent from its due time to its end."""
        self._begin(start_unix_s)
        ended = await self._host.run_agent(agent, at_s, self._report)
        await self._host.close()
        return ended

    @ray.method(concurrency_group="control")
    async def direct(self, order: Order) -> None:
        """Open and close the slots of a search."""
        self._host.direct(order)

    @ray.method(concurrency_group="control")
    async def stop(self) -> None:
        """Start no more turns, here and in the actors started from here."""
        self._host.stop()
        if self._spread is not None:
            self._spread.stop()

    def _begin(self, start_unix_s: float) -> None:
        self._host.begin(start_unix_s)
        if self._spread is not None:
            self._spread.start_unix_s = start_unix_s
            self._host.spawn_with(self._spread.run)

    async def _report(self, batch: Batch) -> int:
        try:
            acknowledged: int = await self._coordinator.receive.remote(batch)
        except (ray.exceptions.RayError, asyncio.InvalidStateError) as fault:
            raise ReportError(str(fault)) from None
        return acknowledged


class AgentActor:
    """An actor that runs one sub-agent, and gives those below it actors of their own."""

    def __init__(self, plan: HostPlan, coordinator: Any, run_id: str) -> None:
        self._actor = RemoteHost.options(scheduling_strategy="SPREAD").remote(  # type: ignore[attr-defined]
            plan, coordinator, run_id, True
        )

    async def run_agent(self, agent: Agent, start_unix_s: float, at_s: float) -> Ended:
        """Run the agent from its due time to its end."""
        try:
            ended: Ended = await self._actor.run_agent.remote(agent, start_unix_s, at_s)
        except ray.exceptions.RayActorError as fault:
            raise ProcessLost(str(fault)) from fault
        return ended

    def stop(self) -> None:
        """Let it start no more turns."""
        self._actor.stop.remote()


class CoordinatorActor:
    """What a host asks the coordinator about the actors that it starts."""

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator

    async def new_host(self) -> int:
        """Return a number that no host of the run has."""
        number: int = await self._coordinator.new_host.remote()
        return number

    async def retire(self, host: int, epoch: int) -> int:
        """Let it take no more batches of a host; return the last sequence taken of it."""
        last: int = await self._coordinator.retire.remote(host, epoch)
        return last

    async def takeover(self, session: str, host: int) -> Takeover:
        """Return what has been reported of a session, of which this host was lost."""
        takeover: Takeover = await self._coordinator.takeover.remote(session, host)
        return takeover
