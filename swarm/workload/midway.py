"""Who else runs when a recorded session is entered at a later turn of its orchestrator."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from swarm.workload.script import SessionScript, SpawnScript, TurnScript


@dataclass(frozen=True, slots=True)
class RunningSubagent:
    """A sub-agent that had requests left."""

    spawn: SpawnScript
    first: int
    """Its first request at or after the moment."""
    after_s: float
    """How long after it that request was recorded."""


def turn_at(script: SessionScript, share: float, turns: int) -> int:
    """Return the orchestrator's first turn, of so many, from a share of the session's time on; else its last.

    The time is from the first request of any agent to the last.
    """
    main = script.agents[0]
    starts_s = _starts_s(main.turns)
    every_s = list(starts_s)
    spawned = [(0.0, spawn) for spawn in main.early_spawns]
    for at_s, turn in zip(starts_s, main.turns, strict=True):
        spawned += [(at_s, spawn) for spawn in turn.spawns]
    for since_s, spawn in spawned:
        every_s += [since_s + spawn.after_s + at_s for at_s in _starts_s(script.agents[spawn.agent].turns)]
    moment_s = min(every_s) + share * (max(every_s) - min(every_s))
    return min(bisect_left(starts_s, moment_s), turns - 1)


def running_at(script: SessionScript, first: int) -> list[RunningSubagent]:
    """Return the sub-agents that were recorded to go on when the orchestrator's turn `first` was sent."""
    main = script.agents[0]
    starts_s = _starts_s(main.turns)
    moment_s = starts_s[first]
    spawned = [(0.0, spawn) for spawn in main.early_spawns]
    for at_s, turn in zip(starts_s[:first], main.turns, strict=False):
        spawned += [(at_s, spawn) for spawn in turn.spawns]
    running = []
    for since_s, spawn in spawned:
        for index, at_s in enumerate(_starts_s(script.agents[spawn.agent].turns)):
            after_s = since_s + spawn.after_s + at_s - moment_s
            if after_s >= 0:
                running.append(RunningSubagent(spawn, index, after_s))
                break
    return running


def _starts_s(turns: Sequence[TurnScript]) -> list[float]:
    return list(accumulate(turn.gap_s for turn in turns))
