"""Which sessions are worth a look: the slowest, and those that lost, failed, spawned or weigh most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.measure.latency import Floats
from swarm.report.numbers import count, seconds
from swarm.report.run.requests import Requests

SESSIONS_MAX = 8
TURNS_LEAST = 3
"""A session of fewer turns is not called the slowest where others have more."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One session, and what is interesting in it."""

    session: str
    label: str


def interesting(requests: Requests, *, is_missed: bool) -> list[Chosen]:
    """Return a few sessions to look at, the one to begin with first.

    That is the slowest where the SLO was missed; else the one that failed most, else lost most, else the
    heaviest.
    """
    places, names = requests.codes("session")
    if not len(places):
        return []
    sums = _Sums(requests)
    found: dict[int, list[str]] = {}
    for name in _order(sums, is_missed):
        place, told = sums.most(name)
        if place is not None:
            found.setdefault(place, []).append(told)
    for place in np.argsort(-sums.weight, kind="stable")[:SESSIONS_MAX].tolist():
        if len(found) < SESSIONS_MAX and sums.turns[place]:
            found.setdefault(place, [])
    return [
        Chosen(names[place], f"{names[place]} · {', '.join([*why, f'{int(sums.turns[place])} requests'])}")
        for place, why in found.items()
    ]


def _order(sums: _Sums, is_missed: bool) -> list[str]:
    first = ["slowest"] if is_missed else []
    return [
        *first,
        *(name for name in ("failed", "lost", "heaviest", "slowest", "spawned") if name not in first),
    ]


class _Sums:
    """What the requests of each session come to."""

    def __init__(self, requests: Requests) -> None:
        places, names = requests.codes("session")
        size = len(names)

        def sums(values: Floats) -> Floats:
            return np.bincount(places, weights=np.nan_to_num(values), minlength=size).astype(np.float64)

        waits_s = requests.number("first_token_s") - requests.number("intended_s")
        known = sums((~np.isnan(waits_s)).astype(np.float64))
        self.turns = np.bincount(places, minlength=size)
        self.weight = sums(requests.number("prompt_tokens"))
        self.lost = sums(requests.lost_tokens)
        self.failed = sums(requests.is_("outcome", "failed").astype(np.float64))
        agents, _ = requests.codes("agent")
        pairs = np.unique(places * (agents.max() + 1) + agents) // (agents.max() + 1)
        self.agents = np.bincount(pairs, minlength=size)
        enough = min(TURNS_LEAST, int(self.turns.max()))
        mean_s = sums(waits_s) / np.where(known > 0, known, np.nan)
        self.slow_s = np.where(self.turns >= enough, np.nan_to_num(mean_s), 0.0)

    def most(self, name: str) -> tuple[int | None, str]:
        """Return the session that leads in something, and how that is said; None where none does."""
        match name:
            case "slowest":
                place = int(np.argmax(self.slow_s))
                told = f"slowest ({seconds(float(self.slow_s[place]))} to the first token on average)"
                return (place, told) if self.slow_s[place] > 0 else (None, "")
            case "failed":
                place = int(np.argmax(self.failed))
                told = f"most failed ({int(self.failed[place])})"
                return (place, told) if self.failed[place] else (None, "")
            case "lost":
                place = int(np.argmax(self.lost))
                told = f"lost most ({count(float(self.lost[place]))} tokens)"
                return (place, told) if self.lost[place] else (None, "")
            case "spawned":
                place = int(np.argmax(self.agents))
                told = f"most agents ({int(self.agents[place])})"
                return (place, told) if self.agents[place] > 1 else (None, "")
        place = int(np.argmax(self.weight))
        return place, "heaviest"
