"""When hosts did not run their agents: lost ones until others took over, and ones that stood still.

Knows: batches, and when each was made. An agent is not alive while nobody runs it, and what a lost host did
after its last batch is unaccounted for.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from swarm.measure.sketch import Sketch
from swarm.records.batch import AgentStep, Batch
from swarm.records.rows import from_message

STILL_S = 2.0
"""A host whose event loop woke up later than this stood still: it was stopped, or starved of its core."""
DEVIATIONS = 3.0
"""How far above the expected number of requests those may be that nobody saw: of so many that come by chance,
the square root is the standard deviation (Poisson), and one case in some hundred is beyond three of them."""
RECENT_BATCHES = 10
"""Batches that say how many requests a host sends."""


@dataclass(frozen=True, slots=True)
class Absence:
    """A time in which nobody ran the agents of a host."""

    host: int
    from_s: float
    to_s: float | None
    """When they went on; None: they never did."""
    is_lost: bool
    """The host did not come back: it was replaced, or was not."""
    unseen: int
    """Requests that it may have sent after its last batch, beyond those that its replacement knows of."""


@dataclass(frozen=True, slots=True)
class Attendance:
    """The agents of a run, and when hosts were not there to run them."""

    absences: tuple[Absence, ...]
    steps: tuple[tuple[int, AgentStep], ...]
    """Starts and ends by host, with those at each absence: who is away is not alive."""
    unattended: tuple[AgentStep, ...]
    """The same of the agents that nobody ran, while nobody did."""

    @property
    def unseen(self) -> int:
        """Requests that lost hosts may have sent, of which nothing else tells."""
        return sum(each.unseen for each in self.absences)


class _Watch:
    """The batches of one host in one epoch: one process."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches
        self.host, self.epoch = batches[0].host, batches[0].epoch
        self.begun_s = batches[0].begun_s
        self.heard_s = max(0.0, batches[-1].gauges.at_s)
        """A host's first report is made before the run's time 0."""
        self.is_lost = not batches[-1].is_last
        self.carried: list[tuple[float, AgentStep]] = []
        """Agents that it took over, and from when on."""

    def stills(self) -> Iterator[tuple[float, float]]:
        """Yield the times in which it stood still."""
        lags = [Sketch.from_bytes(batch.loop_lag).most for batch in self.batches]
        for at, (before, batch) in enumerate(pairwise(self.batches), start=1):
            # The lag of a stop is noted as the loop wakes up: before the next batch is made, or just after.
            lag_s = max(lags[at : at + 2])
            gap_s = batch.gauges.at_s - before.gauges.at_s
            if min(lag_s, gap_s) > STILL_S:
                yield max(before.gauges.at_s, batch.gauges.at_s - lag_s), batch.gauges.at_s

    def steps(self, stills: Sequence[tuple[float, float]]) -> list[AgentStep]:
        """Return its starts and ends: those that fell due while nobody ran its agents came after that."""
        found = [step for _, step in self.carried]
        absent = list(stills)
        if self.epoch:
            absent.append((-math.inf, self.begun_s))
        for batch in self.batches:
            for step in batch.agents:
                at_s = max((to_s for from_s, to_s in absent if from_s < step.at_s < to_s), default=step.at_s)
                found.append(replace(step, at_s=at_s))
        return sorted(found, key=lambda step: (step.at_s, -step.change))

    def rate(self) -> float:
        """Return how many requests a second it sent of late; 0 where it has not reported any."""
        recent = self.batches[-RECENT_BATCHES:]
        first_s, first_sent = recent[0].gauges.at_s, recent[0].gauges.sent
        if len(recent) < RECENT_BATCHES:
            first_s, first_sent = max(0.0, self.begun_s), 0
        span_s = self.heard_s - first_s
        return (recent[-1].gauges.sent - first_sent) / span_s if span_s > 0 else 0.0

    def unseen(self, *, within_s: float, others: float) -> int:
        """Return how many requests it sent at most within so long after its last batch, going on as before.

        One that had just begun sent as many as the `others` do in a second, or what was due.
        """
        if within_s <= 0:
            return 0
        expected = (self.rate() or others) * within_s
        return max(self.batches[-1].due, math.ceil(expected + DEVIATIONS * math.sqrt(expected)))

    def silence_s(self, report_every_s: float) -> float:
        """Return how long it may have gone on after its last batch: until the next one would have come.

        It comes as late as those before it were made, and waits as long as they did to be taken.
        """
        recent = self.batches[-RECENT_BATCHES:]
        gaps_s = (after.gauges.at_s - before.gauges.at_s for before, after in pairwise(recent))
        every_s = max(report_every_s, min(STILL_S, max(gaps_s, default=0.0)))
        return every_s * (1 + max(batch.waiting for batch in recent))

    def missed(self) -> int:
        """Return how many requests of the host before it this one knows of that nobody else has told."""
        told = sum(int(from_message(batch.rows).num_rows) - batch.open_rows for batch in self.batches)
        still_open = self.batches[-1].gauges.open_requests
        return max(0, self.batches[-1].gauges.sent - told - still_open)

    def agents(self) -> set[str]:
        """Return the agents that its batches tell of."""
        found = {step.agent for batch in self.batches for step in batch.agents if step.agent is not None}
        for batch in self.batches:
            found |= set(from_message(batch.rows).column("agent").unique().to_pylist())
        return found


def attendance_of(batches: Iterable[Batch], *, report_every_s: float, ended_s: float) -> Attendance:
    """Return who ran which agents when, from the batches of all hosts, each host's in order."""
    groups: dict[tuple[int, int], list[Batch]] = {}
    for batch in batches:
        groups.setdefault((batch.host, batch.epoch), []).append(batch)
    watches = {name: _Watch(group) for name, group in groups.items()}
    followers = sorted((watch for watch in watches.values()), key=lambda watch: (watch.begun_s, watch.host))
    known = {(w.host, w.epoch): w.agents() for w in followers} if any(w.is_lost for w in followers) else {}
    rates = [rate for rate in (each.rate() for each in followers) if rate]
    usual_rate = statistics.fmean(rates) if rates else 0.0
    absences: list[Absence] = []
    steps: list[tuple[int, AgentStep]] = []
    unattended: list[AgentStep] = []

    def away(agent: AgentStep, host: int, from_s: float, to_s: float | None) -> None:
        steps.append((host, replace(agent, at_s=from_s, change=-1, finished=False)))
        unattended.append(replace(agent, at_s=from_s, change=1))
        if to_s is not None:
            unattended.append(replace(agent, at_s=to_s, change=-1))

    for watch in sorted(followers, key=lambda each: (each.epoch, each.begun_s, each.host)):
        stills = list(watch.stills())
        own = watch.steps(stills)
        steps += [(watch.host, step) for step in own]
        for from_s, to_s in stills:
            absences.append(Absence(watch.host, from_s, to_s, is_lost=False, unseen=0))
            for agent in _live(own, from_s):
                away(agent, watch.host, from_s, to_s)
                steps.append((watch.host, replace(agent, at_s=to_s, change=1)))
        if not watch.is_lost:
            continue
        heard_s = watch.heard_s
        epochs = [each.epoch for each in followers if each.host == watch.host and each.epoch > watch.epoch]
        following = watches[watch.host, min(epochs)] if epochs else None
        went_on_s: list[float] = []
        for agent in _live(own, math.inf):
            later = [each for each in followers if each.epoch >= watch.epoch and each is not watch]
            taken = [
                each
                for each in later
                if each.begun_s >= heard_s and agent.agent in known[each.host, each.epoch]
            ]
            runner = taken[0] if taken else following
            if runner is None:
                away(agent, watch.host, heard_s, None)
                continue
            again_s = max(heard_s, runner.begun_s)
            away(agent, watch.host, heard_s, again_s)
            runner.carried.append((again_s, replace(agent, at_s=again_s, change=1)))
            went_on_s.append(again_s)
        until_s = min(ended_s, heard_s + watch.silence_s(report_every_s))
        unseen = watch.unseen(within_s=until_s - heard_s, others=usual_rate)
        back_s = max(went_on_s, default=None)
        if following is not None:
            back_s = max(heard_s, following.begun_s)
            unseen = max(0, unseen - following.missed())
        if heard_s < ended_s:
            absences.append(Absence(watch.host, heard_s, back_s, is_lost=True, unseen=unseen))
    return Attendance(tuple(absences), tuple(steps), tuple(unattended))


def _live(steps: Iterable[AgentStep], at_s: float) -> list[AgentStep]:
    """Return the starts of the agents that are alive at a time, each as its last."""
    live: dict[str, AgentStep] = {}
    for step in steps:
        if step.at_s > at_s or step.agent is None:
            continue
        if step.change > 0:
            live[step.agent] = step
        else:
            live.pop(step.agent, None)
    return list(live.values())
