"""Programs and a fleet on one heap of virtual time.

Knows: agents, their due-clocks, the fleet's events. Does not know: where sessions come from, what is
measured. Two things happen at a time: an agent's effect falls due, or the fleet has an event; at the same
instant the fleet goes first, then agents in the order in which they were scheduled.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import Protocol

from numpy.random import Generator

from swarm.config.target import RetryConfig
from swarm.errors import RunError
from swarm.fleet.events import Event, Finished, FirstToken, FleetRequest, Refused
from swarm.load.admission import Admission
from swarm.load.retry import retry_chance, wait_s
from swarm.workload.due import DueClock
from swarm.workload.effects import Agent, Ended, Infer, Inferred, Join, Program, Spawn, Think

STILL_MAX, STILL_PER_AGENT = 100_000, 1_000
"""What may be due at one instant, in all and for each agent: an endless loop ends with an error."""
DRY_STEP_S = 10.0
"""Pieces of time in which a fleet is run until nothing is in flight."""


class Fleet(Protocol):
    """What the kernel needs of a fleet; see `swarm.fleet.events`."""

    def submit(self, request: FleetRequest, now_s: float) -> None:
        """Take a request."""

    def cancel(self, request_id: int, now_s: float) -> None:
        """Give a request up."""

    def advance_to_event(self, until_s: float) -> list[Event]:
        """Return the next events up to a time, all of one time; none where nothing happens until then."""


class Flight:
    """One request between its submission and its end."""

    __slots__ = (
        "admission_wait_s",
        "attempts",
        "chance",
        "due_s",
        "effect",
        "first",
        "intended_s",
        "retry_wait_s",
        "runner",
        "turn",
    )

    def __init__(self, runner: Runner, effect: Infer, intended_s: float, turn: int) -> None:
        self.runner = runner
        self.effect = effect
        self.intended_s = intended_s
        self.turn = turn
        self.first: FirstToken | None = None
        self.attempts = 1
        self.retry_wait_s = 0.0
        self.admission_wait_s = 0.0
        self.due_s = intended_s
        """When it was last sent: as intended, or after a wait."""
        self.chance: Generator | None = None


class Runner:
    """One agent between its start and its end."""

    __slots__ = (
        "agent",
        "children",
        "due",
        "effect",
        "is_retired",
        "parent",
        "program",
        "retries",
        "turn",
        "waits_for",
    )

    def __init__(self, agent: Agent, start_s: float, parent: Runner | None) -> None:
        self.agent = agent
        self.due = DueClock(start_s)
        self.parent = parent
        self.program: Program | None = None
        self.effect: Infer | Spawn | None = None
        self.retries: int | None = None
        """The request that waits to be sent again."""
        self.turn = 0
        self.children: dict[str, Ended | None] = {}
        self.waits_for: tuple[str, ...] = ()
        self.is_retired = False


GATEKEEPER = Agent("", "", None, "", iter)  # type: ignore[arg-type]
"""No agent: it stands for the gate."""


class Observer(Protocol):
    """Who is told what happened, in the order of virtual time."""

    def agent_started(self, agent: Agent, at_s: float) -> None:
        """An agent began."""

    def agent_ended(self, agent: Agent, at_s: float) -> None:
        """An agent's program returned."""

    def agent_stopped(self, agent: Agent, at_s: float) -> None:
        """An agent's session was retired; what it has in flight still ends."""

    def request_sent(self, at_s: float) -> None:
        """A request was submitted."""

    def request_ended(self, flight: Flight, end: Finished | Refused) -> None:
        """A request finished or was refused."""


class Kernel:
    """Runs agents against a fleet in virtual time."""

    def __init__(
        self, fleet: Fleet, observer: Observer, *, retry: RetryConfig, seed: int, admission: Admission | None
    ) -> None:
        self._fleet = fleet
        self._admission = admission
        self._queued: dict[int, Flight] = {}
        """Requests that wait for admission; they have not been sent."""
        self._gate_at_s = math.inf
        self._gatekeeper = Runner(GATEKEEPER, 0.0, None)
        """Whose place on the heap is when somebody may be admitted though nothing has ended."""
        self._retry = retry
        self._seed = seed
        self._observer = observer
        self._heap: list[tuple[float, int, Runner]] = []
        self._scheduled_count = 0
        self._requests_count = 0
        self._sessions: dict[str, dict[Runner, None]] = {}
        """The agents of each session that have not ended."""
        self.flights: dict[int, Flight] = {}
        self.now_s = 0.0
        self._count_still = 0
        """What has been due at the present instant."""
        self.is_stopped = False
        """Set from outside: nothing more happens."""

    def start(self, agent: Agent, at_s: float) -> None:
        """Let an agent start at a time that has not passed."""
        self._enrol(Runner(agent, at_s, None), at_s)

    def retire(self, session: str, at_s: float) -> None:
        """Let a session's agents start no more turns; what they have in flight ends as it would."""
        for runner in self._sessions.pop(session, ()):
            runner.is_retired = True
            if runner.program is not None:
                self._observer.agent_stopped(runner.agent, at_s)

    def run(self, until_s: float) -> None:
        """Advance to the last thing due at or before `until_s`."""
        heap, fleet = self._heap, self._fleet
        while not self.is_stopped:
            agent_s = heap[0][0] if heap else math.inf
            events = fleet.advance_to_event(agent_s if agent_s < until_s else until_s)
            if events:
                self.now_s = events[0].at_s
                self._hear(events)
            elif heap and agent_s <= until_s:
                self._count_still = self._count_still + 1 if agent_s == self.now_s else 0
                if self._count_still > STILL_MAX + STILL_PER_AGENT * len(heap):
                    raise RunError(
                        f"virtual time stands still at {agent_s:g} s: agents ask again at once and are "
                        "answered at once; give them think times, or look at why the fleet refuses them"
                    )
                self.now_s = agent_s
                self._act(heappop(heap)[2])
            else:
                return

    def run_dry(self) -> None:
        """Let requests in flight end, however long it takes; every agent has been retired."""
        while not self.is_stopped and self.flights:
            self.run(self.now_s + DRY_STEP_S)
            self.now_s += DRY_STEP_S

    def move_to(self, fleet: Fleet) -> None:
        """Send requests to another fleet from now on; none is in flight."""
        assert not self.flights
        self._fleet = fleet

    def drain(self, until_s: float) -> None:
        """Let requests in flight end, up to `until_s`; agents do nothing more but try them again."""
        heap, fleet = self._heap, self._fleet
        heap[:] = [entry for entry in heap if entry[2].retries is not None]
        heapify(heap)
        self._queued.clear()
        self._admission = None
        while not self.is_stopped:
            while heap and heap[0][2].retries is None:
                heappop(heap)
            retry_s = heap[0][0] if heap else math.inf
            if events := fleet.advance_to_event(min(retry_s, until_s)):
                self.now_s = events[0].at_s
                self._hear(events)
            elif retry_s <= until_s:
                self.now_s = retry_s
                self._act(heappop(heap)[2])
            else:
                self.now_s = until_s if self.flights else self.now_s
                return

    def _enrol(self, runner: Runner, at_s: float) -> None:
        self._sessions.setdefault(runner.agent.session, {})[runner] = None
        self._schedule(runner, at_s)

    def _schedule(self, runner: Runner, at_s: float) -> None:
        self._scheduled_count += 1
        heappush(self._heap, (at_s, self._scheduled_count, runner))

    def _act(self, runner: Runner) -> None:
        """Carry out the effect that is now due and run the program on to its next one."""
        if runner is self._gatekeeper:
            self._gate_at_s = math.inf
            self._admit()
            return
        if runner.is_retired and runner.retries is None:
            return
        effect = runner.effect
        if runner.program is None:
            runner.program = runner.agent.make()
            self._observer.agent_started(runner.agent, self.now_s)
            self._resume(runner, None)
        elif runner.retries is not None:
            request_id, runner.retries = runner.retries, None
            self._send(request_id, self.flights[request_id])
        elif isinstance(effect, Infer):
            self._submit(runner, effect)
        else:
            assert effect is not None
            child = Runner(effect.agent, self.now_s, runner)
            runner.children[effect.agent.path] = None
            self._enrol(child, self.now_s)
            self._resume(runner, effect.agent.path)

    def _submit(self, runner: Runner, effect: Infer) -> None:
        self._requests_count += 1
        request_id = self._requests_count
        flight = Flight(runner, effect, runner.due.intend(), runner.turn)
        runner.turn += 1
        if self._admission is None:
            self._launch(request_id, flight)
            return
        prompt = effect.prompt.length
        self._admission.ask(request_id, runner.agent.path, prompt, effect.output_tokens, self.now_s)
        self._queued[request_id] = flight
        self._admit()

    def _launch(self, request_id: int, flight: Flight) -> None:
        self.flights[request_id] = flight
        self._observer.request_sent(self.now_s)
        self._send(request_id, flight)

    def _admit(self) -> None:
        """Send what may be sent now, and look again when more may be."""
        admission, now_s = self._admission, self.now_s
        if admission is None or not self._queued:
            return
        for request_id, waited_s in admission.admitted(now_s):
            flight = self._queued.pop(request_id)
            if flight.runner.is_retired:
                admission.ended(request_id, now_s, ok=True)
                continue
            if waited_s:
                flight.admission_wait_s, flight.due_s = waited_s, now_s
            self._launch(request_id, flight)
        next_s = max(admission.next_s(now_s), math.nextafter(now_s, math.inf))
        if next_s < self._gate_at_s:
            self._gate_at_s = next_s
            self._schedule(self._gatekeeper, next_s)

    def _send(self, request_id: int, flight: Flight) -> None:
        agent, effect = flight.runner.agent, flight.effect
        self._fleet.submit(
            FleetRequest(
                request_id=request_id,
                session=agent.session,
                agent=agent.path,
                prompt=effect.prompt,
                output_tokens=effect.output_tokens,
                echo=effect.echo,
            ),
            self.now_s,
        )

    def _hear(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, FirstToken):
                self.flights[event.request_id].first = event
                if self._admission is not None:
                    self._admission.first_token(event.request_id)
                    self._admit()
            elif isinstance(event, Finished) or (
                isinstance(event, Refused) and not self._waits_to_retry(event)
            ):
                self._finish(event)

    def _waits_to_retry(self, event: Refused) -> bool:
        """Let a refused request wait as a live client would; return False where it gives up."""
        if event.retry_after_s is None:
            return False
        flight = self.flights[event.request_id]
        runner = flight.runner
        if flight.chance is None:
            flight.chance = retry_chance(self._seed, f"{runner.agent.path}:{flight.turn}")
        # The header that tells a live client has whole seconds.
        asked_s = float(math.ceil(event.retry_after_s))
        waited_s = wait_s(
            self._retry, "http_429", attempt=flight.attempts, asked_s=asked_s, chance=flight.chance
        )
        if waited_s is None:
            return False
        flight.attempts += 1
        flight.retry_wait_s += waited_s
        flight.due_s = event.at_s + waited_s
        runner.retries = event.request_id
        self._schedule(runner, flight.due_s)
        return True

    def _finish(self, event: Finished | Refused) -> None:
        flight = self.flights.pop(event.request_id)
        self._observer.request_ended(flight, event)
        if self._admission is not None:
            self._admission.ended(event.request_id, event.at_s, ok=isinstance(event, Finished))
            self._admit()
        runner = flight.runner
        if runner.is_retired:
            return
        runner.due.complete(event.at_s)
        ok = isinstance(event, Finished)
        tokens = event.output_tokens if isinstance(event, Finished) else 0
        self._resume(runner, Inferred(ok, tokens, event.at_s, None))

    def _resume(self, runner: Runner, result: object) -> None:
        """Send the program its result and go on until it has to wait for a time, the fleet or a child."""
        program, due = runner.program, runner.due
        assert program is not None
        while True:
            try:
                effect = program.send(result)
            except StopIteration as end:
                self._end(runner, end.value)
                return
            if isinstance(effect, Think):
                due.think(effect)
                result = None
            elif isinstance(effect, Join):
                runner.waits_for = effect.paths
                outcomes = self._joined(runner)
                if outcomes is None:
                    return
                result = outcomes
            else:
                runner.effect = effect
                self._schedule(runner, max(due.due_s, self.now_s))
                return

    def _joined(self, runner: Runner) -> tuple[Ended, ...] | None:
        """Return the outcomes of the children waited for, or None while one of them runs."""
        outcomes: list[Ended] = []
        for path in runner.waits_for:
            ended = runner.children[path]
            if ended is None:
                return None
            outcomes.append(ended)
        for ended in outcomes:
            runner.due.join(ended.completed_s)
            del runner.children[ended.path]
        runner.waits_for = ()
        return tuple(outcomes)

    def _end(self, runner: Runner, returned: object) -> None:
        peers = self._sessions[runner.agent.session]
        del peers[runner]
        if not peers:
            del self._sessions[runner.agent.session]
        self._observer.agent_ended(runner.agent, runner.due.due_s)
        parent = runner.parent
        if parent is None:
            return
        parent.children[runner.agent.path] = Ended(runner.agent.path, True, runner.due.due_s, returned)
        if parent.waits_for:
            outcomes = self._joined(parent)
            if outcomes is not None:
                self._resume(parent, outcomes)
