"""Sub-agents in processes of their own: each is started, and started again where its process is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from swarm.live.host_plan import HostPlan
    from swarm.records.takeover import Takeover
    from swarm.workload.effects import Agent, Ended

EPOCHS_MAX = 5
"""How often the process of one sub-agent is started."""


class ProcessLost(Exception):
    """The process of a sub-agent is gone."""


class AgentProcess(Protocol):
    """A host in a process of its own that runs one agent."""

    async def run_agent(self, agent: Agent, start_unix_s: float, at_s: float) -> Ended:
        """Run the agent from its due time to its end. Raises ProcessLost."""

    def stop(self) -> None:
        """Let it start no more turns."""


class Registry(Protocol):
    """What the coordinator knows of such processes."""

    async def new_host(self) -> int:
        """Return a number that no host of the run has."""

    async def retire(self, host: int, epoch: int) -> int:
        """Take no more batches of a host's epochs up to this one; return the last sequence taken of it."""

    async def takeover(self, session: str, host: int) -> Takeover:
        """Return what has been reported of a session, of which this host was lost."""


class SpreadAgents:
    """Runs the sub-agents of one host elsewhere."""

    def __init__(self, plan: HostPlan, registry: Registry, start: Callable[[HostPlan], AgentProcess]) -> None:
        self._plan = plan
        self._registry = registry
        self._start = start
        self._processes: dict[AgentProcess, None] = {}
        self.start_unix_s = 0.0
        """When the run's time is 0."""

    async def run(self, agent: Agent, at_s: float) -> Ended:
        """Run a sub-agent from its due time to its end; raise ProcessLost where it is lost too often."""
        host = await self._registry.new_host()
        plan = replace(self._plan, host=host, epoch=0, follows=(), takeover=None)
        while True:
            process = self._start(plan)
            self._processes[process] = None
            try:
                return await process.run_agent(agent, self.start_unix_s, at_s)
            except ProcessLost:
                if plan.epoch + 1 >= EPOCHS_MAX:
                    raise
                last = await self._registry.retire(host, plan.epoch)
                takeover = await self._registry.takeover(agent.session, host)
                plan = replace(plan, epoch=plan.epoch + 1, follows=(*plan.follows, last), takeover=takeover)
            finally:
                del self._processes[process]

    def stop(self) -> None:
        """Let the sub-agents start no more turns."""
        for process in self._processes:
            process.stop()
