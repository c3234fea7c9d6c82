"""Sub-agents in processes of their own: what is done when theirs are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from reported import AGENT, EXPERIMENT

from swarm.live.host_plan import HostPlan
from swarm.live.spread_agents import EPOCHS_MAX, ProcessLost, SpreadAgents
from swarm.records.takeover import Takeover, takeover_of
from swarm.workload.effects import Agent, Ended

PLAN = HostPlan(EXPERIMENT, host=3, hosts=4, epoch=2, journal="x", follows=(4, 5), takeover=None)
ENDED = Ended(AGENT.path, True, 9.0, "brief")


class Coordinator:
    """Numbers hosts from 100 on; of each retired epoch it has taken batches up to 10 times the epoch."""

    def __init__(self) -> None:
        self.retired: list[tuple[int, int]] = []
        self.takeovers: list[Takeover] = []
        self._numbers: Iterator[int] = iter(range(100, 200))

    async def new_host(self) -> int:
        return next(self._numbers)

    async def retire(self, host: int, epoch: int) -> int:
        self.retired.append((host, epoch))
        return 10 * epoch

    async def takeover(self, session: str, host: int) -> Takeover:
        assert session == AGENT.session
        self.takeovers.append(takeover_of((), lambda name: name == session, heard_until_s=host, is_lost=True))
        return self.takeovers[-1]


class Process:
    """Is lost, or waits to be told to stop, or runs its agent to the end."""

    def __init__(self, *, lives: bool, waits: bool = False) -> None:
        self._lives = lives
        self._stopped = asyncio.Event()
        self.asked: list[tuple[float, float]] = []
        if not waits:
            self._stopped.set()

    async def run_agent(self, agent: Agent, start_unix_s: float, at_s: float) -> Ended:
        self.asked.append((start_unix_s, at_s))
        await self._stopped.wait()
        if not self._lives:
            raise ProcessLost
        return ENDED

    def stop(self) -> None:
        self._stopped.set()


def run(coordinator: Coordinator, lost: int) -> tuple[Ended, list[HostPlan]]:
    """Run a sub-agent whose first `lost` processes are lost; return its end, and the plans of all."""
    plans: list[HostPlan] = []

    def start(plan: HostPlan) -> Process:
        plans.append(plan)
        return Process(lives=len(plans) > lost)

    async def go() -> Ended:
        spread = SpreadAgents(PLAN, coordinator, start)
        return await spread.run(AGENT, 7.0)

    return asyncio.run(go()), plans


def test_a_sub_agent_gets_a_process_with_a_number_of_its_own() -> None:
    ended, (plan,) = run(Coordinator(), lost=0)
    assert ended == ENDED
    assert (plan.host, plan.epoch, plan.follows, plan.takeover) == (100, 0, (), None)


def test_a_lost_sub_agent_goes_on_in_the_next_epoch_from_what_was_reported() -> None:
    coordinator = Coordinator()
    ended, plans = run(coordinator, lost=2)
    assert ended == ENDED
    assert [(plan.host, plan.epoch, plan.follows) for plan in plans] == [
        (100, 0, ()),
        (100, 1, (0,)),
        (100, 2, (0, 10)),
    ]
    assert coordinator.retired == [(100, 0), (100, 1)]
    assert [plan.takeover for plan in plans[1:]] == coordinator.takeovers


def test_a_sub_agent_that_is_lost_again_and_again_fails_its_parent() -> None:
    coordinator = Coordinator()
    with pytest.raises(ProcessLost):
        run(coordinator, lost=EPOCHS_MAX)
    assert len(coordinator.retired) == EPOCHS_MAX - 1


def test_a_stop_reaches_every_process_that_runs() -> None:
    async def go() -> list[Ended]:
        spread = SpreadAgents(PLAN, Coordinator(), lambda plan: Process(lives=True, waits=True))
        agents = [asyncio.ensure_future(spread.run(AGENT, 0.0)) for _ in range(3)]
        while len(spread._processes) < 3:
            await asyncio.sleep(0)
        spread.stop()
        return await asyncio.wait_for(asyncio.gather(*agents), 5.0)

    assert asyncio.run(go()) == [ENDED] * 3
