"""A recorded session's timeline with its long gaps cut, as AIPerf's `--trace-idle-gap-cap-seconds` cuts them.

The gap is one of the whole session: between a request's start and the next one's, whichever of its agents
they are of. What comes after a gap is moved up, so that agents keep their distances to each other.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import pairwise

from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent


def with_gaps_cut(session: RecordedSession, cap_s: float) -> RecordedSession:
    """Return the session with at most `cap_s` between the starts of two requests, its agents together."""
    starts_s: set[float] = set()
    for entry in session.entries:
        if isinstance(entry, RecordedRequest):
            starts_s.add(entry.t_s)
        else:
            starts_s.update(entry.t_s + request.t_s for request in entry.requests)
    timeline = _Timeline(sorted(starts_s), cap_s)
    if not timeline.is_cut:
        return session
    own = [entry for entry in session.entries if isinstance(entry, RecordedRequest)]
    moved = timeline.moved(own, 0.0)
    entries: list[RecordedRequest | RecordedSubagent] = []
    for entry in session.entries:
        if isinstance(entry, RecordedRequest):
            entries.append(moved[id(entry)])
            continue
        inside = timeline.moved(entry.requests, entry.t_s)
        start_s = timeline.at(entry.t_s)
        duration_s = entry.duration_s
        if duration_s is not None:
            duration_s = timeline.at(entry.t_s + duration_s) - start_s
        requests = tuple(inside[id(request)] for request in entry.requests)
        entries.append(replace(entry, t_s=start_s, duration_s=duration_s, requests=requests))
    return replace(session, entries=tuple(entries))


class _Timeline:
    """Where moments of a session come to lie when its gaps are cut."""

    def __init__(self, starts_s: list[float], cap_s: float) -> None:
        self._starts_s = starts_s
        self._cap_s = cap_s
        self._cut_s = [0.0]
        """By start, what was cut before it."""
        for before_s, after_s in pairwise(starts_s):
            self._cut_s.append(self._cut_s[-1] + max(0.0, after_s - before_s - cap_s))

    @property
    def is_cut(self) -> bool:
        """Whether any gap is longer than the cap."""
        return self._cut_s[-1] > 0.0

    def at(self, t_s: float) -> float:
        """Return where a moment comes to lie; what is cut of a gap is its end."""
        index = bisect_right(self._starts_s, t_s) - 1
        if index < 0:
            return t_s
        start_s, cut_s = self._starts_s[index], self._cut_s[index]
        if index + 1 < len(self._starts_s):
            t_s = min(t_s, start_s + self._cap_s)
        return t_s - cut_s

    def moved(
        self, requests: list[RecordedRequest] | tuple[RecordedRequest, ...], start_s: float
    ) -> dict[int, RecordedRequest]:
        """Return an agent's requests, by their ids, where they come to lie; think times lose what is cut.

        `start_s` is the agent's start, from which its requests' times count.
        """
        found: dict[int, RecordedRequest] = {}
        before: RecordedRequest | None = None
        origin_s = self.at(start_s)
        for request in sorted(requests, key=lambda each: each.t_s):
            t_s = self.at(start_s + request.t_s) - origin_s
            think_s = request.think_s
            if think_s is not None and before is not None:
                cut_s = request.t_s - before.t_s - (t_s - found[id(before)].t_s)
                think_s = max(0.0, think_s - cut_s)
            found[id(request)] = replace(request, t_s=t_s, think_s=think_s)
            before = request
        return found
