"""A host: one event loop that runs its share of the sessions and reports what happened."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from swarm.config.workload import ReplayConfig
from swarm.live import collector
from swarm.live.admission_gate import Gate
from swarm.live.clock import RunClock
from swarm.live.directed_slots import DirectedSlots, Order
from swarm.live.host_plan import HostPlan
from swarm.live.idle_skip import IdleSkip
from swarm.live.interpreter import Interpreter, Resumption, Stopped
from swarm.live.ledger import HostLedger
from swarm.live.loop_lag import LoopLag
from swarm.live.report_outbox import ENDING_S_MAX, REPORT_S_MAX, Report, ReportQueue
from swarm.live.targets.openai import OpenAITarget
from swarm.load.admission import AdmissionControl
from swarm.load.assignment import slots_of
from swarm.load.pacing import pacing_of
from swarm.load.purse import Purse
from swarm.load.shapes import Span
from swarm.measure.window import windows_of
from swarm.records.batch import Batch
from swarm.records.rows import warm_up
from swarm.workload.effects import Agent, Ended
from swarm.workload.source import Material, open_source, session_name

SHED_LAG_S = 0.25
"""A host whose loop woke up this late starts no session until it is in time again."""
SHED_WAIT_S = 0.1


class Host:
    """Runs slots of sessions, or single agents, on the running event loop."""

    def __init__(self, plan: HostPlan, scripts: Material) -> None:
        warm_up()
        self._plan = plan
        experiment = plan.experiment
        self._source = open_source(experiment.workload, experiment.seed, scripts)
        self._pacing = pacing_of(
            experiment.load, self._source.count, experiment.seed, self._source.arrivals_s
        )
        self._target = OpenAITarget(config=experiment.target, seed=experiment.seed, run_id=plan.run_id)
        self._lag = LoopLag()
        self._ledger: HostLedger | None = None
        self._interpreter: Interpreter | None = None
        self._stop_requested = asyncio.Event()
        self._drain_over = asyncio.Event()
        self._was_told = False
        """Somebody outside has said `stop`."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop that the host runs on; orders may come from other threads."""
        self._session_in: dict[int, str] = {}
        """The session that each slot plays."""
        self._directed: DirectedSlots | None = None
        """The slots, where a search directs them; from `run` on."""
        self._order: Order | None = None
        """The last order."""

    def begin(self, start_unix_s: float) -> None:
        """Set the run's clock; rows and reports count from it."""
        experiment, takeover = self._plan.experiment, self._plan.takeover
        clock = RunClock(start_unix_s)
        resumption = None
        if takeover is not None:
            lost_s = takeover.heard_until_s + experiment.hosts.report_every_s
            at_s = max(takeover.heard_until_s, clock.now_s())
            resumption = Resumption(takeover, min(lost_s, at_s), at_s)
        budget = experiment.load.budget
        purse = None if budget is None else Purse(budget, hosts=self._plan.hosts, before=self._plan.spent)
        self._ledger = HostLedger(
            clock=clock,
            host=self._plan.host,
            epoch=self._plan.epoch,
            block_tokens=experiment.ideal_block_tokens,
            windows=windows_of(experiment),
            journal=self._plan.journal,
            lag=self._lag,
            takeover=takeover,
            follows=self._plan.follows,
            objectives=experiment.slo,
            purse=purse,
        )
        self._interpreter = Interpreter(
            clock=clock,
            target=self._target,
            ledger=self._ledger,
            host=self._plan.host,
            measured_from_s=experiment.load.warmup_s,
            resumption=resumption,
            gate=self._gate(clock),
            purse=purse,
            idle=self._idle_skip(clock, self._ledger),
        )
        self._interpreter.fail = self._stop_turns
        if experiment.load.duration_s is not None:
            self._interpreter.ends_s = experiment.load.duration_s
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._lag.start()
        collector.settle()

    def _idle_skip(self, clock: RunClock, ledger: HostLedger) -> IdleSkip | None:
        """Return what skips idle time, where that is asked for."""
        workload = self._plan.experiment.workload
        cap_s = workload.system_idle_cap_s if isinstance(workload, ReplayConfig) else None
        return None if cap_s is None else IdleSkip(clock=clock, cap_s=cap_s, skipped=ledger.skipped)

    def _gate(self, clock: RunClock) -> Gate | None:
        admission = self._plan.experiment.load.admission
        return None if admission is None else Gate(AdmissionControl(admission, hosts=self._plan.hosts), clock)

    def spawn_with(self, spawn: Callable[[Agent, float], Awaitable[Ended]]) -> None:
        """Start sub-agents elsewhere."""
        assert self._interpreter is not None
        self._interpreter.spawn = spawn

    async def run(self, report: Report) -> tuple[Batch, ...]:
        """Play this host's slots until the load ends or the run is stopped, reporting on the way.

        Return the batches that nobody has stored.
        """
        slots = slots_of(
            self._plan.host,
            self._plan.hosts,
            self._pacing.slots,
            in_turn=self._plan.experiment.hosts.start == "in_turn",
        )
        due = 0
        if self._plan.experiment.load.search is None:
            tasks = [asyncio.ensure_future(self._play(slot)) for slot in slots]
            soon_s = self._clock.now_s() + self._plan.experiment.hosts.report_every_s
            due = sum(any(span.start_s <= soon_s for span in self._pacing.spans(slot)[:1]) for slot in slots)
        else:
            self._directed = DirectedSlots(slots, self._play_directed, self._close)
            self._follow()
            tasks = [asyncio.ensure_future(self._directed.until(self._stop_requested))]
        return await self._until_done(tasks, report, due)

    def direct(self, order: Order) -> None:
        """Open and close slots of a search, now or when the host begins to run; from any thread."""
        self._order = order
        self._in_loop(self._follow)

    async def run_agent(self, agent: Agent, start_s: float, report: Report) -> Ended:
        """Run one agent to its end, or until the run ends."""
        assert self._interpreter is not None
        task = asyncio.ensure_future(self._interpreter.run(agent, start_s))
        await self._until_done([task], report, due=1)
        return Ended(agent.path, False, self._clock.now_s(), None) if task.cancelled() else task.result()

    def stop(self) -> None:
        """Start no more turns; what is in flight may end within the drain time; from any thread.

        Said a second time, the drain is over.
        """
        self._in_loop(self._told_to_stop)

    async def close(self) -> None:
        """Close every connection."""
        self._lag.stop()
        await self._target.close()

    def _told_to_stop(self) -> None:
        if self._was_told:
            self._drain_over.set()
        self._was_told = True
        self._stop_requested.set()

    def _stop_turns(self) -> None:
        self._in_loop(self._stop_requested.set)

    def _in_loop(self, act: Callable[[], None]) -> None:
        """Do something in the loop that the host runs on, or at once where it does not run yet."""
        loop = self._loop
        if loop is None or loop.is_closed():
            act()
        else:
            loop.call_soon_threadsafe(act)

    def _follow(self) -> None:
        """Do as last ordered."""
        if self._directed is not None and self._order is not None and not self._stop_requested.is_set():
            self._directed.direct(self._order)

    async def _play_directed(self, slot: int, generation: int, start_s: float) -> int | None:
        return await self._play_span(slot, generation, Span(start_s, None))

    async def _play(self, slot: int) -> None:
        generation: int | None = 0
        for span in self._pacing.spans(slot):
            if generation is not None:
                generation = await self._play_span(slot, generation, span)

    async def _play_span(self, slot: int, generation: int, span: Span) -> int | None:
        """Play a slot's sessions for a time; return the generation to go on with, None where none is left."""
        end_s = math.inf if span.end_s is None else span.end_s
        timer = None
        if span.end_s is not None:
            left_s = max(0.0, end_s - self._clock.now_s())
            timer = asyncio.get_running_loop().call_later(left_s, self._close, slot)
        try:
            return await self._play_until(slot, generation, span.start_s, end_s)
        finally:
            self._session_in.pop(slot, None)
            if timer is not None:
                timer.cancel()

    async def _play_until(self, slot: int, generation: int, at_s: float, end_s: float) -> int | None:
        interpreter, ledger, takeover = self._interpreter, self._ledger, self._plan.takeover
        assert interpreter is not None
        assert ledger is not None
        while True:
            index = self._pacing.session_index(slot, generation)
            if index is None or interpreter.is_stopping:
                return None
            if self._directed is not None and not self._directed.is_open(slot):
                return generation
            name = session_name(index)
            is_known = takeover is not None and name in takeover.started
            if takeover is not None and name in takeover.sessions_ended:
                at_s = takeover.sessions_ended[name]
                generation += 1
                continue
            if end_s <= max(at_s, self._clock.now_s()):
                return generation + is_known
            self._session_in[slot] = name
            if not is_known:
                try:
                    at_s += await self._put_off(at_s, name)
                except Stopped:
                    return generation + 1
            ended = await interpreter.run(self._source.session(index), at_s)
            generation += 1
            if not ended.ok:
                return generation
            ledger.session_finished(name, ended.completed_s)
            at_s = ended.completed_s

    def _close(self, slot: int) -> None:
        """Let the slot's session start no more turns."""
        session = self._session_in.get(slot)
        if session is not None and self._interpreter is not None:
            self._interpreter.retire(session)

    async def _put_off(self, at_s: float, session: str) -> float:
        """Wait while this host is behind: it sheds the start of sessions, never what it measures.

        Return by how much the session starts later than at `at_s`, which may lie in the future.
        """
        assert self._interpreter is not None
        await self._interpreter.wait_until(at_s, session)
        if self._lag.last_s < SHED_LAG_S:
            return 0.0
        assert self._ledger is not None
        while self._lag.last_s >= SHED_LAG_S:
            await self._interpreter.wait_until(self._clock.now_s() + SHED_WAIT_S, session)
        late_s = max(0.0, self._clock.now_s() - at_s)
        self._ledger.put_off(late_s)
        return late_s

    async def _until_done(
        self, tasks: Sequence[asyncio.Future[Any]], report: Report, due: int
    ) -> tuple[Batch, ...]:
        """Report every interval; stop at the load's end or on request, drain, and report the rest.

        `due` sessions are to play before the first interval is over. Return the batches that nobody has
        stored.
        """
        load, interpreter, ledger = self._plan.experiment.load, self._interpreter, self._ledger
        assert interpreter is not None
        assert ledger is not None
        done = asyncio.ensure_future(asyncio.gather(*tasks, return_exceptions=True))
        quiet = asyncio.Event()
        outbox = ReportQueue(report, is_journaled=self._plan.journal is not None)
        made = asyncio.Event()
        # Before the first turn: a host that is lost before its first interval is over is known to have begun.
        outbox.put(ledger.take(due=due))
        made.set()
        reporters = asyncio.gather(self._write_on(outbox, made, quiet), self._send_on(outbox, made, quiet))
        stop = asyncio.ensure_future(self._stop_requested.wait())
        if ledger.is_refused:
            self._stop_turns()
        left_s = None if load.duration_s is None else max(0.0, load.duration_s - self._clock.now_s())
        await asyncio.wait((done, stop), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        interpreter.stop()
        self._stop_requested.set()
        over = asyncio.ensure_future(self._drain_over.wait())
        await asyncio.wait((done, over), timeout=load.drain_s, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await done
        stop.cancel()
        over.cancel()
        quiet.set()
        await reporters
        outbox.put(ledger.take(is_last=True))
        await outbox.send(ENDING_S_MAX)
        for task in tasks:
            if not task.cancelled():
                task.result()
        return outbox.unstored

    async def _write_on(self, outbox: ReportQueue, made: asyncio.Event, quiet: asyncio.Event) -> None:
        """Make a batch every interval, whether those before were sent or not; stop if none can be kept."""
        assert self._ledger is not None
        every_s = self._plan.experiment.hosts.report_every_s
        waits = asyncio.ensure_future(quiet.wait())
        while not quiet.is_set():
            await asyncio.wait((waits,), timeout=every_s)
            if not quiet.is_set():
                outbox.put(self._ledger.take(waiting=len(outbox)))
            if self._ledger.is_refused:
                self._stop_turns()
            made.set()

    async def _send_on(self, outbox: ReportQueue, made: asyncio.Event, quiet: asyncio.Event) -> None:
        """Send batches as they are made; stop if the host is given up, or can keep no more."""
        assert self._ledger is not None
        while not quiet.is_set():
            await made.wait()
            made.clear()
            if quiet.is_set():
                return
            await outbox.send(REPORT_S_MAX)
            if outbox.refusal:
                self._ledger.fault(f"host {self._plan.host}: {outbox.refusal}: no more turns are started")
            if outbox.refusal or outbox.is_retired:
                self._stop_turns()
