"""Bytes on their way: transfers that cross the same pipes share them.

A lane is a class of transfers that cross the same pipes; all in it move at one rate, so one virtual clock
(the bytes that each has moved since the lane was last idle) tells when each is done, by a heap. Rates between
lanes are max-min fair over transfers, none above what its own streams move. Lanes that pipes connect form a
group; a start or an end changes the rates of its own group only, and nothing but starts and ends moves any
clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Final

from swarm.fleet.transfers.objects import Objects

INFINITE: Final = math.inf
"""A constant of compiled code, where `math.inf` is looked up and unpacked at each use."""
Arrived = Callable[[float], None]
"""Called with the time at which a transfer has arrived."""


class Pipe:
    """Something with a bandwidth: a tier's read or write side, a link."""

    __slots__ = ("bytes_per_s", "lanes", "name", "under_way")

    def __init__(self, name: str, bytes_per_s: float) -> None:
        self.name = name
        self.bytes_per_s = bytes_per_s
        self.lanes: list[Lane] = []
        self.under_way = 0
        """Transfers that cross it now."""

    def __repr__(self) -> str:
        return f"Pipe({self.name!r}, {self.bytes_per_s})"


class Lane:
    """Transfers that cross the same pipes at once, and after that wait for the same latency."""

    __slots__ = (
        "clock_bytes",
        "group",
        "latency_s",
        "least_bytes_per_s",
        "marked_bytes",
        "most_bytes_per_s",
        "objects",
        "offered_bytes",
        "pipes",
        "queue",
        "rate",
    )

    def __init__(self, pipes: Sequence[Pipe], latency_s: float, objects: Objects | None = None) -> None:
        self.pipes = tuple(pipes)
        self.latency_s = latency_s
        self.least_bytes_per_s = min((pipe.bytes_per_s for pipe in pipes), default=INFINITE)
        self.objects = objects
        """What each transfer costs besides its bytes; None: nothing."""
        self.most_bytes_per_s = INFINITE if objects is None else objects.bytes_per_s
        """Of one transfer, however idle the pipes are."""
        self.group: Group | None = None
        self.clock_bytes = 0.0
        self.offered_bytes = 0.0
        """Of all transfers that were ever started."""
        self.marked_bytes: list[float] = []
        """What all had moved when it began to be counted, and when that ended."""
        self.rate = 0.0
        """Bytes a second of each transfer under way."""
        self.queue: list[tuple[float, int, Arrived]] = []
        """By the clock at which each is done, then by start."""
        for pipe in self.pipes:
            pipe.lanes.append(self)

    def estimate_s(self, bytes_count: float) -> float:
        """Return the seconds that one more transfer takes if what is under way stays and nothing comes."""
        share = self.most_bytes_per_s
        for pipe in self.pipes:
            share = min(share, pipe.bytes_per_s / (1 + pipe.under_way))
        return self.wait_s(bytes_count) + bytes_count / share

    def moved_bytes(self, seconds: float) -> float:
        """Return what all transfers have moved so many seconds after its clock, if its rate stays."""
        clock_bytes = self.clock_bytes + self.rate * seconds
        left = 0.0
        for done_bytes, _, _ in self.queue:
            left += max(0.0, done_bytes - clock_bytes)
        return self.offered_bytes - left

    def wait_s(self, bytes_count: float) -> float:
        """Return the seconds between a transfer's last byte and its arrival."""
        if self.objects is None:
            return self.latency_s
        return self.latency_s + self.objects.more_s(bytes_count)


class Group:
    """Lanes whose rates depend on each other."""

    __slots__ = ("at_s", "due_lane", "due_s", "edges_s", "lanes", "next_edge_s")

    def __init__(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self.at_s = 0.0
        self.edges_s = [0.0, math.inf]
        """Between these times it is counted what lanes move."""
        self.next_edge_s = 0.0
        """The first of them that no clock has passed."""
        self.due_s = INFINITE
        self.due_lane: Lane | None = None

    def pass_to(self, now_s: float) -> None:
        """Move the clocks."""
        if now_s > self.next_edge_s:
            self._mark(now_s)
        seconds = now_s - self.at_s
        for lane in self.lanes:
            if lane.queue:
                lane.clock_bytes += lane.rate * seconds
        self.at_s = now_s

    def counted_bytes(self, lane: Lane, now_s: float) -> float:
        """Return what a lane has moved by now, while it was counted; changes nothing."""
        marks = lane.marked_bytes[:]
        for edge_s in self.edges_s[len(marks) :]:
            marks.append(lane.moved_bytes(max(0.0, min(edge_s, now_s) - self.at_s)))
        return marks[1] - marks[0]

    def _mark(self, now_s: float) -> None:
        """Note what lanes had moved at the edges that the clocks are to pass."""
        while now_s > self.next_edge_s:
            seconds = max(0.0, self.next_edge_s - self.at_s)
            for lane in self.lanes:
                lane.marked_bytes.append(lane.moved_bytes(seconds))
            passed = len(self.lanes[0].marked_bytes)
            self.next_edge_s = self.edges_s[passed] if passed < len(self.edges_s) else math.inf

    def share(self) -> None:
        """Set the rates anew, and with them which transfer is done next."""
        lanes = [lane for lane in self.lanes if lane.queue]
        if len(lanes) == 1:
            lane = lanes[0]
            lane.rate = min(lane.most_bytes_per_s, lane.least_bytes_per_s / len(lane.queue))
        elif lanes:
            _max_min(lanes)
        self.due_s = INFINITE
        self.due_lane = None
        for lane in lanes:
            due_s = self.at_s + max(0.0, lane.queue[0][0] - lane.clock_bytes) / lane.rate
            if due_s < self.due_s:
                self.due_s = due_s
                self.due_lane = lane


class Network:
    """Every lane of a fleet, on one clock."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.pipes = tuple(dict.fromkeys(pipe for lane in lanes for pipe in lane.pipes))
        self._groups: list[Group] = []
        self._first: Group | None = None
        self._first_s = INFINITE
        self._starts_count = 0
        self._latent: list[tuple[float, int, Arrived]] = []
        self._waits_s: dict[int, float] = {}
        """By the start of a transfer that waits longer than its lane's latency after its last byte."""
        for lane in lanes:
            if lane.pipes and lane.group is None:
                self._groups.append(_group_of(lane))

    @property
    def under_way(self) -> int:
        """Transfers that have not arrived."""
        return len(self._latent) + sum(len(lane.queue) for group in self._groups for lane in group.lanes)

    def count(self, from_s: float, until_s: float) -> None:
        """Count what is moved between these two times alone, which are not over."""
        for group in self._groups:
            group.edges_s = [from_s, until_s]
            group.next_edge_s = from_s
            for lane in group.lanes:
                lane.marked_bytes.clear()

    def counted_bytes(self, now_s: float) -> dict[str, float]:
        """Return what was moved over each pipe by now, while it was counted; changes nothing."""
        counted = {pipe.name: 0.0 for pipe in self.pipes}
        for group in self._groups:
            for lane in group.lanes:
                moved = group.counted_bytes(lane, now_s)
                for pipe in lane.pipes:
                    counted[pipe.name] += moved
        return counted

    def start(self, lane: Lane, bytes_count: float, now_s: float, arrived: Arrived) -> bool:
        """Start a transfer; False where it takes no time, and then `arrived` is not called."""
        group = lane.group
        self._starts_count += 1
        if group is None or bytes_count <= 0:
            seconds = lane.wait_s(bytes_count) + max(0.0, bytes_count) / lane.most_bytes_per_s
            if seconds == 0.0:
                return False
            heappush(self._latent, (now_s + seconds, self._starts_count, arrived))
            return True
        if lane.objects is not None:
            self._waits_s[self._starts_count] = lane.wait_s(bytes_count)
        group.pass_to(now_s)
        if not lane.queue:
            lane.clock_bytes = 0.0
        for pipe in lane.pipes:
            pipe.under_way += 1
        lane.offered_bytes += bytes_count
        heappush(lane.queue, (lane.clock_bytes + bytes_count, self._starts_count, arrived))
        group.share()
        self._note(group)
        return True

    def after(self, seconds: float, now_s: float, arrived: Arrived) -> None:
        """Call `arrived` when so many seconds have passed."""
        self.at(now_s + seconds, arrived)

    def at(self, time_s: float, arrived: Arrived) -> None:
        """Call `arrived` at a time that has not passed."""
        self._starts_count += 1
        heappush(self._latent, (time_s, self._starts_count, arrived))

    def close(self) -> None:
        """Forget what is under way, and which lanes cross which pipes."""
        self._latent.clear()
        for pipe in self.pipes:
            pipe.lanes.clear()
        for group in self._groups:
            for lane in group.lanes:
                lane.queue.clear()
                lane.group = None

    def next_s(self) -> float:
        """Return when the next transfer has moved its bytes, or has arrived; infinite if there is none."""
        due_s = self._first_s
        return self._latent[0][0] if self._latent and self._latent[0][0] < due_s else due_s

    def run(self, now_s: float) -> None:
        """Do what is due at `now_s`, which is `next_s`: bytes first, in the order of lanes, then arrivals."""
        if self._first_s <= now_s:
            assert self._first is not None
            self._finish(self._first)
        else:
            heappop(self._latent)[2](now_s)

    def _note(self, group: Group) -> None:
        """Keep in mind which group is due first, the first of them among equals; this one has changed."""
        if group is not self._first and group.due_s > self._first_s:
            return
        first_s, first = INFINITE, None
        for each in self._groups:
            if each.due_s < first_s:
                first_s, first = each.due_s, each
        self._first_s, self._first = first_s, first

    def _finish(self, group: Group) -> None:
        lane, now_s = group.due_lane, group.due_s
        assert lane is not None
        group.pass_to(now_s)
        done_bytes, started, arrived = heappop(lane.queue)
        lane.clock_bytes = done_bytes
        for pipe in lane.pipes:
            pipe.under_way -= 1
        group.share()
        self._note(group)
        wait_s = lane.latency_s if lane.objects is None else self._waits_s.pop(started)
        if wait_s:
            heappush(self._latent, (now_s + wait_s, started, arrived))
        else:
            arrived(now_s)


def _group_of(first: Lane) -> Group:
    """Return the lanes that pipes connect with this one, in the order found."""
    group = Group([first])
    first.group = group
    for lane in group.lanes:
        for pipe in lane.pipes:
            for other in pipe.lanes:
                if other.group is None:
                    other.group = group
                    group.lanes.append(other)
    return group


def _max_min(lanes: list[Lane]) -> None:
    """Fill all rates alike; those that cross a full pipe, or move all that they can, are settled."""
    left = {pipe: pipe.bytes_per_s for lane in lanes for pipe in lane.pipes}
    unsettled = list(lanes)
    while unsettled:
        crossing = dict.fromkeys(left, 0)
        for lane in unsettled:
            for pipe in lane.pipes:
                crossing[pipe] += len(lane.queue)
        tightest, rate = None, INFINITE
        for pipe, count in crossing.items():
            if count and left[pipe] / count < rate:
                tightest, rate = pipe, left[pipe] / count
        assert tightest is not None
        most = min(lane.most_bytes_per_s for lane in unsettled)
        if most < rate:
            for lane in unsettled:
                if lane.most_bytes_per_s == most:
                    lane.rate = most
                    for pipe in lane.pipes:
                        left[pipe] = max(0.0, left[pipe] - most * len(lane.queue))
            unsettled = [lane for lane in unsettled if lane.most_bytes_per_s > most]
            continue
        for lane in unsettled:
            if tightest in lane.pipes:
                lane.rate = rate
                for pipe in lane.pipes:
                    left[pipe] = max(0.0, left[pipe] - rate * len(lane.queue))
        unsettled = [lane for lane in unsettled if tightest not in lane.pipes]
