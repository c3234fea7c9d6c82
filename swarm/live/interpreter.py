"""Programs on asyncio and wall time: effects in, turns out, one row for each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import sub
from typing import Protocol

from swarm.errors import ProgramError
from swarm.live.admission_gate import Gate
from swarm.live.clock import TICK_S, RunClock
from swarm.live.idle_skip import IdleSkip, PastSkips
from swarm.live.targets.turn import Target, Turn, TurnCut, TurnResult
from swarm.live.turn_rows import OpenRequest, row_of
from swarm.load.purse import Purse
from swarm.records.row import RequestRow
from swarm.records.takeover import KnownOutcome, Takeover
from swarm.workload.due import DueClock
from swarm.workload.effects import Agent, Ended, Infer, Inferred, Join, Program, Spawn, Think

Spawner = Callable[[Agent, float], Awaitable[Ended]]
"""Runs an agent from a due time on, here or elsewhere, to its end."""


class Ledger(Protocol):
    """Where an interpreter writes down what happens."""

    def agent_started(self, agent: Agent, at_s: float) -> None:
        """An agent began its first effect."""

    def agent_ended(self, agent: Agent, at_s: float, *, finished: bool) -> None:
        """An agent's program returned, or was stopped."""

    def sent(self, request: OpenRequest) -> int:
        """A request is given to the target; return its ideal hit in tokens."""

    def program_fault(self, words: str) -> None:
        """A program broke a rule: the run is not to be believed, and need not go on."""

    def missed(self) -> None:
        """A request was sent from a lost host, as far as its plan tells, and nothing is known of it."""

    def ended(self, effect: Infer, row: RequestRow, gaps_s: Sequence[float]) -> None:
        """A request has its row; `gaps_s` are between its deltas."""

    def unsent(self, request: OpenRequest, waited_s: float) -> None:
        """A turn that was due still waited for admission when the run ended."""

    def remarked(self, row: RequestRow, result: TurnResult) -> None:
        """A request failed of something, or had counts that cannot be."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """What is known of agents that another host ran before, and when they go on."""

    known: Takeover
    lost_s: float
    """The lost host may have sent what was due until then."""
    at_s: float
    """No turn of theirs is intended before."""


class Stopped(Exception):
    """The run has ended: this agent starts no more turns."""


class Interpreter:
    """Runs agents against a target until it is told to stop."""

    def __init__(
        self,
        *,
        clock: RunClock,
        target: Target,
        ledger: Ledger,
        host: int,
        measured_from_s: float,
        resumption: Resumption | None,
        gate: Gate | None,
        purse: Purse | None = None,
        idle: IdleSkip | None = None,
    ) -> None:
        self._idle = idle
        """Skips time in which nothing is in flight; None: none is skipped."""
        self._gate = gate
        self._purse = purse
        self._clock = clock
        self._target = target
        self._ledger = ledger
        self._host = host
        self._measured_from_s = measured_from_s
        self._resumption = resumption
        self._past_skips = () if resumption is None else resumption.known.skips
        self._is_stopping = False
        self.ends_s = math.inf
        """No turn is started from then on, also by a host that begins or wakes up late."""
        self._sleepers: dict[asyncio.Future[None], str] = {}
        """Those who wait, with their session."""
        self._retired: set[str] = set()
        self._asked_s: dict[str, float] = {}
        """Of sub-agents that have yet to begin, when their parent asked for them."""
        self.spawn: Spawner = self.run
        self.fail: Callable[[], None] = self.stop
        """Ends the host's part of the run, when a program has broken the rules."""

    def stop(self) -> None:
        """Start no more turns; those in flight go on."""
        self._is_stopping = True
        for sleeper in list(self._sleepers):
            _wake(sleeper)

    def retire(self, session: str) -> None:
        """Let a session's agents start no more turns; those in flight go on."""
        self._retired.add(session)
        for sleeper, sleeps in list(self._sleepers.items()):
            if sleeps == session:
                _wake(sleeper)

    def is_over(self, session: str) -> bool:
        """Whether a session's agents start no more turns."""
        return self.is_stopping or session in self._retired

    @property
    def is_stopping(self) -> bool:
        """Whether no more turns are started."""
        return self._is_stopping or self._clock.now_s() >= self.ends_s

    async def run(self, agent: Agent, start_s: float) -> Ended:
        """Run an agent's program to its end, or until the run stops."""
        due, idle = DueClock(start_s), self._idle
        if idle is None:
            return await self._run(agent, due)
        if agent.parent is None:
            # A session keeps the time at which the load starts it.
            try:
                await self.wait_until(start_s, agent.session)
            except Stopped:
                return Ended(agent.path, False, start_s, None)
            idle.enrol(due)
        else:
            idle.enrol(due)
            idle.let_go()
        try:
            return await self._run(agent, due)
        finally:
            idle.leave(due)

    async def _run(self, agent: Agent, due: DueClock) -> Ended:
        children: dict[str, asyncio.Future[Ended]] = {}
        past = PastSkips(self._past_skips, self._asked_s.pop(agent.path, due.due_s))
        past.until_due(due)
        try:
            await self._wait_for(due, agent.session)
        except Stopped:
            return Ended(agent.path, False, due.due_s, None)
        started_s = self._started_s(agent, due.due_s)
        self._ledger.agent_started(agent, started_s)
        returned: object = None
        ok = False
        try:
            returned = await self._drive(agent, agent.make(), due, children, past)
            ok = True
        except Stopped:
            pass
        except ProgramError as fault:
            self._ledger.program_fault(str(fault))
            self.fail()
        except asyncio.CancelledError:
            for child in children.values():
                child.cancel()
            await asyncio.gather(*children.values(), return_exceptions=True)
            raise
        finally:
            ended_s = max(due.due_s, started_s) if ok else self._clock.now_s()
            self._ledger.agent_ended(agent, ended_s, finished=ok)
        if children:
            await asyncio.gather(*children.values())
        return Ended(agent.path, ok, due.due_s, returned)

    def _started_s(self, agent: Agent, start_s: float) -> float:
        """Return since when an agent is alive: one that the run had stopped is again from the takeover on."""
        resumption = self._resumption
        if resumption is None or resumption.known.may_have_gone_on(agent.path):
            return start_s
        return max(start_s, resumption.at_s)

    async def _drive(
        self,
        agent: Agent,
        program: Program,
        due: DueClock,
        children: dict[str, asyncio.Future[Ended]],
        past: PastSkips,
    ) -> object:
        turn = agent.first_turn
        result: object = None
        resumption = self._resumption
        if resumption is not None and due.due_s >= resumption.at_s:
            resumption = None  # The agent starts after it.
        while True:
            try:
                effect = program.send(result)
            except StopIteration as end:
                if resumption is not None:
                    _check_end(resumption, agent, program, turn)
                return end.value
            match effect:
                case Think():
                    due.think(effect)
                    result = None
                case Infer():
                    known = None if resumption is None else resumption.known.outcome(agent.path, turn)
                    if known is not None:
                        _check_again(agent, program, turn, effect, known)
                        past.until(due, known.completed_s)
                        result = _told(known, due)
                    else:
                        past.until_due(due)
                        if resumption is not None:
                            self._resume(resumption, agent, turn, due)
                        await self._wait_for(due, agent.session)
                        result = await self._infer(agent, turn, effect, due, resumed=resumption is not None)
                        resumption = None
                    turn += 1
                case Spawn(child, after_s):
                    past.until_due(due)
                    await self._wait_for(due, agent.session)
                    if self._idle is not None:
                        self._idle.hold()
                        self._asked_s[child.path] = due.due_s
                    children[child.path] = asyncio.ensure_future(self.spawn(child, due.due_s + after_s))
                    result = child.path
                case Join(paths):
                    ended = await asyncio.gather(*(children[path] for path in paths))
                    past.until(due, max((one.completed_s for one in ended), default=0.0))
                    for one in ended:
                        due.join(one.completed_s)
                        del children[one.path]
                    if self.is_over(agent.session) and not all(one.ok for one in ended):
                        raise Stopped
                    result = tuple(ended)

    async def wait_until(self, at_s: float, session: str) -> None:
        """Return at `at_s`; raise Stopped if the run, or the session, stops before."""
        if self.is_over(session):
            raise Stopped
        while (delay_s := at_s - self._clock.now_s()) > 0:
            await self._sleep(delay_s, session, None)

    async def _wait_for(self, due: DueClock, session: str) -> None:
        """Return when what an agent that runs does next is due, which skipped time may bring forward."""
        if self.is_over(session):
            raise Stopped
        while (delay_s := due.due_s - self._clock.now_s()) > 0:
            await self._sleep(delay_s, session, due)

    async def _sleep(self, delay_s: float, session: str, due: DueClock | None) -> None:
        """Sleep so long, or until woken; raise Stopped if the run, or the session, stops before."""
        loop, idle = asyncio.get_running_loop(), self._idle
        sleeper: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(max(delay_s, TICK_S), _wake, sleeper)
        self._sleepers[sleeper] = session
        if idle is not None and due is not None:
            idle.wait(sleeper, due)
        try:
            await sleeper
        finally:
            timer.cancel()
            del self._sleepers[sleeper]
            if idle is not None and due is not None:
                idle.wake(sleeper)
        if self.is_over(session):
            raise Stopped

    def _resume(self, resumption: Resumption, agent: Agent, turn: int, due: DueClock) -> None:
        """Go on with the first turn that has no answer; count it where the lost host has sent it unseen."""
        known = resumption.known
        is_due = due.due_s <= resumption.lost_s
        if is_due and (agent.path, turn) not in known.open_turns and known.may_have_gone_on(agent.path):
            self._ledger.missed()
        due.resume(resumption.at_s)

    async def _infer(
        self, agent: Agent, turn: int, effect: Infer, due: DueClock, *, resumed: bool
    ) -> Inferred:
        idle = self._idle
        if idle is None:
            return await self._ask(agent, turn, effect, due, resumed=resumed)
        idle.hold()
        try:
            return await self._ask(agent, turn, effect, due, resumed=resumed)
        finally:
            idle.answered()

    async def _ask(self, agent: Agent, turn: int, effect: Infer, due: DueClock, *, resumed: bool) -> Inferred:
        intended_s = due.intend()
        gate, number, waited_s = self._gate, 0, 0.0
        if gate is not None:
            try:
                number = await self._pass(gate, agent, effect)
            except Stopped:
                self._note_unsent(agent, turn, effect, intended_s)
                raise
            waited_s = gate.waited_s(number)
        asked = None if self._purse is None else self._purse.take(effect.prompt.length, effect.output_tokens)
        if self._purse is not None and asked is None:
            if gate is not None:
                gate.leave(number)
            self.stop()
            raise Stopped
        request = Turn(
            prompt=effect.prompt,
            output_tokens=effect.output_tokens,
            agent=agent.path,
            session=agent.session,
            parent=agent.parent,
            request_id=f"{agent.path}:{turn}",
            keep_reply=effect.echo or effect.keep_reply,
            on_first_token=None if gate is None else partial(gate.first_token, number),
        )
        sent = OpenRequest(
            agent=agent,
            turn=turn,
            effect=effect,
            intended_s=intended_s,
            sent_s=self._clock.now_s(),
            measured=intended_s >= self._measured_from_s and effect.kind != "primer",
            resumed=resumed,
        )
        ideal = self._ledger.sent(sent)
        try:
            result = await self._target.send(request)
        except TurnCut as cut:
            cut.result.admission_wait_s = waited_s
            self._note(sent, ideal, cut.result)
            raise
        result.admission_wait_s = waited_s
        row = self._note(sent, ideal, result)
        if self._purse is not None and asked is not None:
            self._purse.settle(
                asked,
                prompt_tokens=result.prompt_tokens,
                cached_tokens=result.cached_tokens,
                output_tokens=row.output_tokens,
            )
        if gate is not None:
            gate.ended(number, ok=row.outcome == "ok")
        due.complete(row.completed_s)
        reply = result.reply if row.outcome == "ok" else None
        return Inferred(row.outcome == "ok", row.output_tokens, row.completed_s, reply)

    async def _pass(self, gate: Gate, agent: Agent, effect: Infer) -> int:
        """Wait until a request may be sent; raise Stopped if the run, or the session, stops before."""
        number, wait = gate.ask(agent.path, effect.prompt.length, effect.output_tokens)
        if wait is None:
            return number
        self._sleepers[wait] = agent.session
        try:
            await wait
        except asyncio.CancelledError:
            gate.leave(number)
            raise
        finally:
            del self._sleepers[wait]
        if self.is_over(agent.session):
            gate.leave(number)
            raise Stopped
        return number

    def _note_unsent(self, agent: Agent, turn: int, effect: Infer, intended_s: float) -> None:
        """Note a turn that still waited when the run ended, and not where its session alone was to end."""
        if self._is_stopping:
            now_s = self._clock.now_s()
            measured = intended_s >= self._measured_from_s
            request = OpenRequest(agent, turn, effect, intended_s, now_s, measured, resumed=False)
            self._ledger.unsent(request, waited_s=now_s - intended_s)

    def _note(self, sent: OpenRequest, ideal: int, result: TurnResult) -> RequestRow:
        times = result.token_times
        gaps_s = list(map(sub, times[1:], times)) if len(times) > 1 else ()
        row = row_of(
            sent,
            result,
            gaps_s=gaps_s,
            origin_s=self._clock.origin_s,
            ideal_tokens=ideal,
            host=self._host,
        )
        self._ledger.ended(sent.effect, row, gaps_s)
        if result.error is not None or result.doubts:
            self._ledger.remarked(row, result)
        return row


def _told(known: KnownOutcome, due: DueClock) -> Inferred:
    """Return what the program was told before its host was lost; its text is gone."""
    due.intend()
    due.complete(known.completed_s)
    return Inferred(known.ok, known.output_tokens, known.completed_s, None)


def _check_again(agent: Agent, program: Program, turn: int, effect: Infer, known: KnownOutcome) -> None:
    """Raise ProgramError if a program asks something else than it had asked before its host was lost."""
    asked = (effect.prompt.length, effect.output_tokens)
    before = (known.prompt_tokens, known.planned_output_tokens)
    if asked != before:
        raise _differs(
            agent,
            program,
            f"turn {turn} sends {asked[0]} tokens and asks for {asked[1]}; before its host was lost it sent "
            f"{before[0]} and asked for {before[1]}",
        )


def _check_end(resumption: Resumption, agent: Agent, program: Program, turn: int) -> None:
    """Raise ProgramError if a program has ended that had gone further before its host was lost."""
    if resumption.known.outcome(agent.path, turn) is not None:
        raise _differs(agent, program, f"it ends after {turn} turns; before its host was lost it had more")


def _differs(agent: Agent, program: Program, what: str) -> ProgramError:
    name = getattr(program, "__qualname__", agent.role)
    return ProgramError(
        name, agent.path, f"it differs when it is run again: {what}; let it depend on what it is told alone"
    )


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
