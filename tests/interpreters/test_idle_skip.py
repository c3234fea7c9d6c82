"""Idle time skipped on wall time: every wait ends sooner by just what was skipped in it."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from swarm.config.workload import ReplayConfig
from swarm.live.clock import RunClock
from swarm.live.idle_skip import IdleSkip
from swarm.live.interpreter import Interpreter, Resumption
from swarm.live.targets.turn import Turn, TurnResult
from swarm.records.takeover import KnownOutcome, Takeover
from swarm.workload.agent import SharedNodes
from swarm.workload.effects import Agent
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent
from swarm.workload.replay import session_agent
from swarm.workload.script import SessionScript, compile_session

CAP_S = 0.05
SERVICE_S = 0.004
NOTED_S = 0.04


def request(t_s: float, think_s: float | None) -> RecordedRequest:
    api_s = SERVICE_S
    return RecordedRequest(
        t_s, "m", True, 64, 3, [1], ("tool_result",), ("text",), None, api_s, think_s, None
    )


def requests(waits_s: list[float]) -> list[RecordedRequest]:
    at_s, found = 0.0, [request(0.0, None)]
    for wait_s in waits_s:
        at_s += SERVICE_S + wait_s
        found.append(request(at_s, wait_s))
    return found


def script(name: str, waits_s: list[float], sub_at_s: float, sub_waits_s: list[float]) -> SessionScript:
    # It runs on behind its parent's end, so that no turn waits for it.
    sub = RecordedSubagent(sub_at_s, "x", "explore", 1e6, 0, 0, tuple(requests(sub_waits_s)))
    session = RecordedSession(name, f"{name}.json", name, 64, 0, 0, ("m",), (*requests(waits_s), sub))
    return compile_session(session, None)


class Slow:
    """A target that answers after a while."""

    async def send(self, turn: Turn) -> TurnResult:
        result = TurnResult(output_tokens=turn.output_tokens, finish_reason="length")
        result.sent_s = time.monotonic()
        await asyncio.sleep(SERVICE_S)
        result.first_token_s = result.last_token_s = result.completed_s = time.monotonic()
        return result


class Book:
    """Takes rows down."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], Any] = {}
        self.started: dict[str, float] = {}

    def agent_started(self, agent: Agent, at_s: float) -> None:
        self.started[agent.path] = at_s

    def agent_ended(self, agent: Agent, at_s: float, *, finished: bool) -> None:
        assert finished

    def sent(self, request: Any) -> int:
        return 0

    def ended(self, effect: Any, row: Any, gaps_s: Any) -> None:
        self.rows[row.agent, row.turn] = row

    def missed(self) -> None:
        """Not looked at."""

    def remarked(self, row: Any, result: Any) -> None:
        """Not looked at."""


class Run:
    """Sessions that start 0.02 s apart, played with time skipped."""

    def __init__(
        self,
        *scripts: SessionScript,
        starts_s: tuple[float, ...],
        cap_s: float = CAP_S,
        resumption: Resumption | None = None,
    ) -> None:
        self.book = Book()
        self.skips: list[tuple[float, float]] = []
        """When, and how much."""
        config = ReplayConfig(path=".", replies="planned", shared_prefix=False)  # type: ignore[arg-type]

        async def main() -> None:
            clock = RunClock(time.time())
            skip = IdleSkip(
                clock=clock, cap_s=cap_s, skipped=lambda at_s, seconds: self.skips.append((at_s, seconds))
            )
            interpreter = Interpreter(
                clock=clock,
                target=Slow(),
                ledger=self.book,  # type: ignore[arg-type]
                host=0,
                measured_from_s=0.0,
                resumption=resumption,
                gate=None,
                idle=skip,
            )
            agents = [
                session_agent(config, each, shared=SharedNodes(), seed=1, session=f"s{k}")
                for k, each in enumerate(scripts)
            ]
            plays = (interpreter.run(agent, at_s) for agent, at_s in zip(agents, starts_s, strict=True))
            await asyncio.wait_for(asyncio.gather(*plays), 60)

        asyncio.run(main())

    def skipped_s(self, from_s: float, to_s: float) -> float:
        """Return what was skipped in a wait; a skip is noted a moment late, the next comes a cap later."""
        return sum(seconds for at_s, seconds in self.skips if from_s < at_s <= to_s + NOTED_S)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_waits_end_sooner_by_what_was_skipped_in_them(seed: int) -> None:
    chance = random.Random(seed)

    def waits(count: int) -> list[float]:
        return [chance.expovariate(1 / 0.25) for _ in range(count)]

    recorded = [(waits(6), chance.uniform(0.0, 0.3), waits(3)) for _ in range(2)]
    run = Run(*(script(f"s{k}", *each) for k, each in enumerate(recorded)), starts_s=(0.0, 0.02))
    rows = run.book.rows
    assert len(rows) == 2 * (7 + 4)
    assert sum(seconds for _, seconds in run.skips) > 0.2
    for k, (main_s, _, sub_s) in enumerate(recorded):
        for path, waits_s in ((f"s{k}", main_s), (f"s{k}/0", sub_s)):
            for turn, wait_s in enumerate(waits_s):
                before, after = rows[path, turn], rows[path, turn + 1]
                due_s = before.completed_s + wait_s - run.skipped_s(before.completed_s, after.intended_s)
                assert after.intended_s == pytest.approx(due_s, abs=1e-6), (path, turn)
    for at_s, _ in run.skips:
        ended_s = [row.completed_s for row in rows.values() if row.completed_s <= at_s]
        assert all(row.completed_s <= at_s or row.intended_s >= at_s - NOTED_S for row in rows.values())
        assert at_s - max(ended_s, default=0.0) >= CAP_S
        following_s = min(row.intended_s for row in rows.values() if row.completed_s > at_s)
        assert following_s == pytest.approx(at_s, abs=NOTED_S)


def test_a_session_that_the_load_has_yet_to_start_keeps_its_time() -> None:
    idle = script("a", [0.6], 0.0, [])
    late = script("b", [], 0.0, [])
    run = Run(idle, late, starts_s=(0.0, 0.3))
    assert run.book.rows["s0", 1].intended_s < 0.25
    assert run.book.rows["s1", 0].intended_s == 0.3
    assert run.book.started["s1"] == 0.3


def test_what_was_skipped_before_a_host_was_lost_stays_skipped() -> None:
    """The agents' clocks of a host that goes on are those of the lost one, in the midst of their waits."""
    played = script("a", [100.0, 20.0], 60.0, [50.0, 10.5])

    def known(*completed_s: float) -> tuple[KnownOutcome, ...]:
        return tuple(KnownOutcome(True, 3, at_s, 64, 3) for at_s in completed_s)

    # Due next: the sub-agent at 60 s, the orchestrator, the sub-agent, the orchestrator as all was lost.
    skips = ((0.05, 59.95), (0.1, 39.854), (0.22, 9.98), (0.25, 9.98))
    takeover = Takeover(
        outcomes={"s0": known(0.004, 0.21), "s0/0": known(0.064, 0.24)},
        open_turns=frozenset(),
        started=frozenset({"s0", "s0/0"}),
        live=frozenset({"s0", "s0/0"}),
        stopped=frozenset(),
        finished=frozenset(),
        sessions_ended={},
        heard_until_s=0.3,
        skips=skips,
        is_lost=True,
    )
    run = Run(played, starts_s=(0.0,), cap_s=60.0, resumption=Resumption(takeover, 0.3, 0.3))
    rows = run.book.rows
    assert sorted(rows) == [("s0", 2), ("s0/0", 2)]
    assert rows["s0", 2].intended_s == 0.3
    assert rows["s0/0", 2].intended_s == pytest.approx(0.24 + 10.5 - 9.98)
