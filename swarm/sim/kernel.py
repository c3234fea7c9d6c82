"""Programs and a fleet on one heap of virtual time.

Knows: agents, their due-clocks, the fleet's events. Does not know: where sessions come from, what is
measured. Two things happen at a time: an agent's effect falls due, or the fleet has an event; at the same
instant the fleet goes first, then agents in the order in which they were scheduled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Protocol

from numpy.random import Generator

from swarm.config.target import RetryConfig
from swarm.context.tree import Prompt
from swarm.errors import RunError
from swarm.fleet.events import Event, Finished, FirstToken, FleetRequest, Refused
from swarm.load.admission import AdmissionControl
from swarm.load.retry import retry_chance, wait_s
from swarm.sim.breakpoints import Breakpoints, kept
from swarm.workload.due import DueClock
from swarm.workload.effects import Agent, Ended, Infer, Inferred, Join, Program, Spawn, Think

STILL_MAX, STILL_PER_AGENT = 100_000, 1_000
"""What may be due at one instant, in all and for each agent: an endless loop ends with an error."""
DRY_STEP_S = 10.0
"""Pieces of time in which a fleet is run until nothing is in flight."""
WATCH_REQUESTS = 256
"""Requests that end from one question to a watch to the next."""


class Fleet(Protocol):
    """What the kernel needs of a fleet; see `swarm.fleet.events`."""

    def submit(self, request: FleetRequest, now_s: float) -> None:
        """Take a request."""

    def cancel(self, request_id: int, now_s: float) -> None:
        """Give a request up."""

    def advance_to_event(self, until_s: float) -> list[Event]:
        """Return the next events up to a time, all of one time; none where nothing happens until then."""

    def close(self) -> None:
        """Be asked for nothing any more."""


class SimulatedRequest:
    """One request between its submission and its end."""

    __slots__ = (
        "admission_wait_s",
        "attempts",
        "breakpoints",
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
        self.breakpoints: Breakpoints | None = None
        """None where the API has none."""


class Runner:
    """One agent between its start and its end."""

    __slots__ = (
        "agent",
        "children",
        "due",
        "effect",
        "is_retired",
        "joined_count",
        "parent",
        "program",
        "retries",
        "then",
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
        self.turn = agent.first_turn
        self.children: dict[str, Ended | None] = {}
        self.waits_for: tuple[str, ...] = ()
        self.joined_count = 0
        """Of those, how many have ended, up to the first that has not."""
        self.is_retired = False
        self.then: Callable[[float], None] | None = None
        """Told when the agent has come to its own end."""


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

    def request_ended(self, request: SimulatedRequest, end: Finished | Refused) -> None:
        """A request finished or was refused."""


class SimulationWatch(Protocol):
    """Who looks on while a simulation runs, and may end it."""

    def goes_on(self, now_s: float, ended_count: int, open_count: int) -> bool:
        """Return False to end the run here; called once in `WATCH_REQUESTS` requests."""


class Kernel:
    """Runs agents against a fleet in virtual time."""

    def __init__(
        self,
        fleet: Fleet,
        observer: Observer,
        *,
        retry: RetryConfig,
        seed: int,
        admission: AdmissionControl | None,
        watch: SimulationWatch | None,
        breakpoints: Callable[[Prompt], Breakpoints] | None,
        idle_max_s: float | None,
    ) -> None:
        self._fleet = fleet
        self._idle_max_s = math.inf if idle_max_s is None else idle_max_s
        """How long nothing may be in flight or queued before time is skipped."""
        self._idle_since_s = 0.0
        """When the last request ended."""
        self.skipped_s = 0.0
        """How much time was skipped so far."""
        self._breakpoints = breakpoints
        self._admission = admission
        self._queued: dict[int, SimulatedRequest] = {}
        """Requests that wait for admission; they have not been sent."""
        self.unsent: list[SimulatedRequest] = []
        """Those that waited when the load ended."""
        self._gate_at_s = math.inf
        self._gatekeeper = Runner(GATEKEEPER, 0.0, None)
        """Whose place on the heap is when somebody may be admitted though nothing has ended."""
        self._retry = retry
        self._seed = seed
        self._observer = observer
        self._watch = watch
        self._heap: list[tuple[float, int, Runner]] = []
        self._scheduled_count = 0
        self._requests_count = 0
        self._ended_count = 0
        self._sessions: dict[str, dict[Runner, None]] = {}
        """The agents of each session that have not ended."""
        self.in_flight: dict[int, SimulatedRequest] = {}
        self.now_s = 0.0
        self._acted_s = 0.0
        """When an agent was last due."""
        self._count_still = 0
        """What has been due at that instant."""
        self.is_stopped = False
        """The watch has ended the run: nothing more happens."""

    def start(self, agent: Agent, at_s: float, then: Callable[[float], None] | None = None) -> None:
        """Let an agent start at a time that has not passed; `then` is told when it comes to its own end."""
        runner = Runner(agent, at_s, None)
        runner.then = then
        self._enrol(runner, at_s)

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
            if math.inf > agent_s > self._idle_since_s + self._idle_max_s:
                agent_s = self._skip_idle()
            events = fleet.advance_to_event(agent_s if agent_s < until_s else until_s)
            if events:
                self.now_s = events[0].at_s
                self._hear(events)
            elif heap and agent_s <= until_s:
                # Not `now_s`: the fleet's events move it, to where agents without think times are due again.
                self._count_still = self._count_still + 1 if agent_s == self._acted_s else 0
                self._acted_s = agent_s
                if self._count_still > STILL_MAX + STILL_PER_AGENT * len(heap):
                    raise RunError(
                        f"virtual time stands still at {agent_s:g} s: agents ask again at once and are "
                        "answered at once; give them think times, or look at why the fleet refuses them"
                    )
                self.now_s = agent_s
                self._act(heappop(heap)[2])
            else:
                return

    def _skip_idle(self) -> float:
        """Move agents up where the system would idle for too long; return when the next thing is due.

        Every agent that runs is moved by the same time, so that their order and distances stay. Sessions that
        the load has yet to start keep their times.
        """
        heap = self._heap
        if self.in_flight or self._queued:
            return heap[0][0]
        next_s = min((entry[0] for entry in heap if _is_running(entry[2])), default=math.inf)
        resumes_s = max(self._idle_since_s + self._idle_max_s, self.now_s)
        if not resumes_s < next_s < math.inf:
            return heap[0][0]
        surplus_s = next_s - resumes_s
        self.skipped_s += surplus_s
        for runners in self._sessions.values():
            for runner in runners:
                if _is_running(runner):
                    runner.due.advance(surplus_s)
        for index, (at_s, count, runner) in enumerate(heap):
            if _is_running(runner):
                heap[index] = max(at_s - surplus_s, resumes_s), count, runner
        heapify(heap)
        return heap[0][0]

    def run_dry(self) -> None:
        """Let requests in flight end, however long it takes; every agent has been retired."""
        while not self.is_stopped and self.in_flight:
            self.run(self.now_s + DRY_STEP_S)
            self.now_s += DRY_STEP_S

    def move_to(self, fleet: Fleet) -> None:
        """Send requests to another fleet from now on; none is in flight."""
        assert not self.in_flight
        self._fleet = fleet

    def close(self) -> None:
        """Forget all agents and requests, whose sessions refer back here, and close the fleet."""
        self._sessions.clear()
        self._heap.clear()
        self._queued.clear()
        self.unsent.clear()
        self.in_flight.clear()
        self._fleet.close()

    def drain(self, until_s: float) -> None:
        """Let requests in flight end, up to `until_s`; agents do nothing more but try them again."""
        heap, fleet = self._heap, self._fleet
        heap[:] = [entry for entry in heap if entry[2].retries is not None]
        heapify(heap)
        self.unsent += [each for each in self._queued.values() if not each.runner.is_retired]
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
                self.now_s = until_s if self.in_flight else self.now_s
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
            self._send(request_id, self.in_flight[request_id])
        elif isinstance(effect, Infer):
            self._submit(runner, effect)
        else:
            assert effect is not None
            start_s = self.now_s + effect.after_s
            child = Runner(effect.agent, start_s, runner)
            runner.children[effect.agent.path] = None
            self._enrol(child, start_s)
            self._resume(runner, effect.agent.path)

    def _submit(self, runner: Runner, effect: Infer) -> None:
        self._requests_count += 1
        request_id = self._requests_count
        request = SimulatedRequest(runner, effect, runner.due.intend(), runner.turn)
        runner.turn += 1
        if self._admission is None:
            self._launch(request_id, request)
            return
        prompt = effect.prompt.length
        self._admission.ask(request_id, runner.agent.path, prompt, effect.output_tokens, self.now_s)
        self._queued[request_id] = request
        self._admit()

    def _launch(self, request_id: int, request: SimulatedRequest) -> None:
        self.in_flight[request_id] = request
        self._observer.request_sent(self.now_s)
        self._send(request_id, request)

    def _admit(self) -> None:
        """Send what may be sent now, and look again when more may be."""
        admission, now_s = self._admission, self.now_s
        if admission is None or not self._queued:
            return
        for request_id, waited_s in admission.admitted(now_s):
            request = self._queued.pop(request_id)
            if request.runner.is_retired:
                admission.ended(request_id, now_s, ok=True)
                continue
            if waited_s:
                request.admission_wait_s, request.due_s = waited_s, now_s
            self._launch(request_id, request)
        next_s = max(admission.next_s(now_s), math.nextafter(now_s, math.inf))
        if next_s < self._gate_at_s:
            self._gate_at_s = next_s
            self._schedule(self._gatekeeper, next_s)

    def _send(self, request_id: int, request: SimulatedRequest) -> None:
        agent, effect = request.runner.agent, request.effect
        keep_tokens, keep_s = 0, 0.0
        if self._breakpoints is not None:
            request.breakpoints = self._breakpoints(effect.prompt)
            keep_tokens, keep_s = kept(request.breakpoints)
        # In the order of its fields: a named tuple's own maker is interpreted, and takes twice as long.
        asked = (request_id, agent.session, agent.path, effect.prompt, effect.output_tokens, effect.echo)
        made = tuple.__new__(FleetRequest, (*asked, keep_tokens, keep_s))
        self._fleet.submit(made, self.now_s)

    def _hear(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, FirstToken):
                self.in_flight[event.request_id].first = event
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
        request = self.in_flight[event.request_id]
        runner = request.runner
        if request.chance is None:
            request.chance = retry_chance(self._seed, f"{runner.agent.path}:{request.turn}")
        # The header that tells a live client has whole milliseconds.
        asked_s = math.ceil(1000 * event.retry_after_s) / 1000
        waited_s = wait_s(
            self._retry, "http_429", attempt=request.attempts, asked_s=asked_s, chance=request.chance
        )
        if waited_s is None:
            return False
        request.attempts += 1
        request.retry_wait_s += waited_s
        request.due_s = event.at_s + waited_s
        runner.retries = event.request_id
        self._schedule(runner, request.due_s)
        return True

    def _finish(self, event: Finished | Refused) -> None:
        request = self.in_flight.pop(event.request_id)
        self._idle_since_s = event.at_s
        self._ended_count += 1
        if self._watch is not None and self._ended_count % WATCH_REQUESTS == 0:
            goes_on = self._watch.goes_on(self.now_s, self._ended_count, len(self.in_flight))
            self.is_stopped = self.is_stopped or not goes_on
        self._observer.request_ended(request, event)
        if self._admission is not None:
            self._admission.ended(event.request_id, event.at_s, ok=isinstance(event, Finished))
            self._admit()
        runner = request.runner
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
        paths, children = runner.waits_for, runner.children
        while runner.joined_count < len(paths):
            if children[paths[runner.joined_count]] is None:
                return None
            runner.joined_count += 1
        outcomes: list[Ended] = []
        for path in paths:
            ended = children.pop(path)
            assert ended is not None
            runner.due.join(ended.completed_s)
            outcomes.append(ended)
        runner.waits_for, runner.joined_count = (), 0
        return tuple(outcomes)

    def _end(self, runner: Runner, returned: object) -> None:
        peers = self._sessions[runner.agent.session]
        del peers[runner]
        if not peers:
            del self._sessions[runner.agent.session]
        self._observer.agent_ended(runner.agent, runner.due.due_s)
        if runner.then is not None:
            runner.then(runner.due.due_s)
        parent = runner.parent
        if parent is None:
            return
        parent.children[runner.agent.path] = Ended(runner.agent.path, True, runner.due.due_s, returned)
        if parent.waits_for:
            outcomes = self._joined(parent)
            if outcomes is not None:
                self._resume(parent, outcomes)


def _is_running(runner: Runner) -> bool:
    """Whether an agent has begun, or its parent has asked for it, and goes on."""
    return not runner.is_retired and (runner.program is not None or runner.parent is not None)
