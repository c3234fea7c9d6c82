"""Live agents over time, from their starts and ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from swarm.records.batch import AgentStep

STOP_S_MAX = 0.5
"""Within so long of the load's end an agent that stops was stopped by it."""


@dataclass(frozen=True, slots=True)
class AgentCounts:
    """How many agents there were; a live agent is between its start and its end, thinking or waiting."""

    orchestrators: int
    subagents: int
    peak_live: int
    live_mean: float | None
    """Over [from_s, to_s)."""
    live_orchestrators_mean: float | None
    """Of them, the orchestrators: one for each session."""
    times_s: tuple[float, ...]
    """Change points, in order."""
    live_orchestrators: tuple[int, ...]
    """From the change point of the same index on."""
    live_subagents: tuple[int, ...]


def count_agents(steps: Iterable[AgentStep], *, from_s: float, to_s: float) -> AgentCounts:
    """Add up starts and ends; at one instant starts go first, so an agent of no length counts as started.

    The peak is that of what lasts: who takes the place of one that ends is not beside it.
    An agent that was stopped and went on later starts twice and is counted once.
    """
    ordered = sorted(steps, key=lambda step: (step.at_s, -step.change))
    live = {True: 0, False: 0}
    started = {True: 0, False: 0}
    known: set[str] = set()
    peak, area, main_area, before_s = 0, 0.0, 0.0, from_s
    times: list[float] = []
    orchestrators: list[int] = []
    subagents: list[int] = []
    for step in ordered:
        if times and step.at_s > times[-1]:
            peak = max(peak, live[True] + live[False])
        until_s = min(max(step.at_s, from_s), to_s)
        area += (live[True] + live[False]) * (until_s - before_s)
        main_area += live[True] * (until_s - before_s)
        before_s = until_s
        live[step.is_orchestrator] += step.change
        if step.change > 0 and (step.agent is None or step.agent not in known):
            started[step.is_orchestrator] += 1
            known |= {step.agent} if step.agent is not None else set()
        times.append(step.at_s)
        orchestrators.append(live[True])
        subagents.append(live[False])
    peak = max(peak, live[True] + live[False])
    area += (live[True] + live[False]) * (to_s - before_s)
    main_area += live[True] * (to_s - before_s)
    return AgentCounts(
        orchestrators=started[True],
        subagents=started[False],
        peak_live=peak,
        live_mean=area / (to_s - from_s) if to_s > from_s else None,
        live_orchestrators_mean=main_area / (to_s - from_s) if to_s > from_s else None,
        times_s=tuple(times),
        live_orchestrators=tuple(orchestrators),
        live_subagents=tuple(subagents),
    )


def open_s(steps: Iterable[AgentStep], ended_s: float, *, orchestrators: bool) -> tuple[float, ...]:
    """Return how long agents had taken that the load's end cut off; those stopped before are left out."""
    started_s: dict[str, float] = {}
    for step in sorted(steps, key=lambda step: (step.at_s, -step.change)):
        if step.agent is None or step.is_orchestrator is not orchestrators:
            continue
        if step.change > 0:
            started_s.setdefault(step.agent, step.at_s)
        elif step.finished or step.at_s < ended_s - STOP_S_MAX:
            started_s.pop(step.agent, None)
    return tuple(max(0.0, ended_s - at_s) for at_s in started_s.values())


def completions_s(steps: Iterable[AgentStep], from_s: float, *, orchestrators: bool) -> tuple[float, ...]:
    """Return how long agents took that came to their own end from `from_s` on, in order of their ends."""
    started_s: dict[str, float] = {}
    ended: list[tuple[float, float]] = []
    for step in sorted(steps, key=lambda step: (step.at_s, -step.change)):
        if step.agent is None or step.is_orchestrator is not orchestrators:
            continue
        if step.change > 0:
            started_s.setdefault(step.agent, step.at_s)
        elif step.finished and step.at_s >= from_s and step.agent in started_s:
            ended.append((step.at_s, step.at_s - started_s[step.agent]))
    return tuple(taken_s for _, taken_s in ended)
