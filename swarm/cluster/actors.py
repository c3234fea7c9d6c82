"""Thin actors around plain classes; every decision is in the class."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import ray

from swarm.config.fleet import FleetConfig
from swarm.live.coordinator import Coordinator, CoordinatorPlan, Snapshot
from swarm.live.host import Host, HostPlan
from swarm.measure.batch import Batch
from swarm.workload.effects import Agent, Ended
from swarm.workload.script import SessionScript


@ray.remote(num_cpus=0)
class RemoteProvider:
    """The emulated provider in a process of its own."""

    async def start(self, config: FleetConfig, host: str) -> str:
        """Listen on a free port of `host`; return the base URL."""
        from swarm.live.server import Provider  # hosts do without the server's code

        self._provider = Provider(config, host=host, port=0)
        await self._provider.start()
        return f"http://{host}:{self._provider.port}"

    async def stop(self) -> None:
        """Close the server."""
        await self._provider.close()


@ray.remote(num_cpus=0)
class RemoteCoordinator:
    """A Coordinator in a process of its own."""

    def __init__(self, plan: CoordinatorPlan) -> None:
        self._coordinator = Coordinator(plan)

    def new_host(self) -> int:
        """Return a number that no host of the run has."""
        return self._coordinator.new_host()

    def receive(self, batch: Batch) -> int:
        """Take a batch; return the sequence acknowledged."""
        return self._coordinator.receive(batch)

    def snapshot(self) -> Snapshot:
        """Return the run's state as last reported."""
        return self._coordinator.snapshot()


@ray.remote(num_cpus=0, concurrency_groups={"control": 4})
class RemoteHost:
    """A Host in a process of its own; `control` answers while it runs.

    `spreads` gives every sub-agent an actor of its own.
    """

    def __init__(
        self, plan: HostPlan, scripts: tuple[SessionScript, ...], coordinator: Any, spreads: bool
    ) -> None:
        self._plan = plan
        self._coordinator = coordinator
        self._spreads = spreads
        self._host = Host(plan, scripts)
        self._children: list[Any] = []
        self._start_unix_s = 0.0

    @ray.method(concurrency_group="control")
    async def clock(self) -> float:
        """Return this machine's wall clock in Unix seconds; answers once the host is made."""
        return time.time()

    async def run(self, start_unix_s: float) -> None:
        """Play the host's share of the sessions to the end."""
        self._begin(start_unix_s)
        await self._host.run(self._report)
        await self._host.close()

    async def run_agent(self, agent: Agent, start_unix_s: float, at_s: float) -> Ended:
        """Run one agent from its due time to its end."""
        self._begin(start_unix_s)
        ended = await self._host.run_agent(agent, at_s, self._report)
        await self._host.close()
        return ended

    @ray.method(concurrency_group="control")
    async def stop(self) -> None:
        """Start no more turns, here and in the actors started from here."""
        self._host.stop()
        for child in self._children:
            child.stop.remote()

    def _begin(self, start_unix_s: float) -> None:
        self._start_unix_s = start_unix_s
        self._host.begin(start_unix_s)
        if self._spreads:
            self._host.spawn_with(self._spawn)

    async def _spawn(self, agent: Agent, at_s: float) -> Ended:
        number = await self._coordinator.new_host.remote()
        child = RemoteHost.remote(  # type: ignore[attr-defined]
            replace(self._plan, host=number), (), self._coordinator, True
        )
        self._children.append(child)
        ended: Ended = await child.run_agent.remote(agent, self._start_unix_s, at_s)
        self._children.remove(child)
        return ended

    async def _report(self, batch: Batch) -> None:
        await self._coordinator.receive.remote(batch)
