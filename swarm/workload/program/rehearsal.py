"""One session of a program run twice against a scripted world: what differs then would differ on a resume."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from itertools import zip_longest
from typing import Any

from swarm.errors import ProgramError
from swarm.workload.due import DueClock
from swarm.workload.effects import Agent, Effect, Ended, Infer, Inferred, Join, Spawn, Think

REQUESTS_MAX = 200
"""Of a rehearsal; a program may go on for ever."""
SECONDS_PER_TOKEN = 0.01
Step = tuple[str, str]
"""An agent's path and what it did, in words."""


class _EnoughError(Exception):
    """The rehearsal has seen enough."""


def rehearse(name: str, session: Callable[[], Agent]) -> None:
    """Run a session's agents twice, and compare what they yield.

    Raises:
        ProgramError: The program breaks a rule, or yields something else when it is run again.
    """
    first, second = _Rehearsal(name).steps(session()), _Rehearsal(name).steps(session())
    for number, (one, other) in enumerate(zip_longest(first, second)):
        if one != other:
            path, what = one or ("", "nothing more")
            again = "nothing more" if other is None else other[1]
            raise ProgramError(
                name,
                path or (other or ("", ""))[0],
                f"step {number} differs when it is run again: {what}, then {again}; take chance from "
                "agent.chance(purpose), and keep no state outside the function, no clock and no set's order",
            )


class _Rehearsal:
    """The scripted world: every request is answered in full, at a pace."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._steps: list[Step] = []
        self._requests_count = 0

    def steps(self, agent: Agent) -> list[Step]:
        """Return what the agent and its children did, each child as a whole where it was spawned."""
        with suppress(_EnoughError):
            self._play(agent, 0.0)
        return self._steps

    def _play(self, agent: Agent, start_s: float) -> Ended:
        program, due = agent.make(), DueClock(start_s)
        ended: dict[str, Ended] = {}
        result: Any = None
        while True:
            try:
                effect = program.send(result)
            except StopIteration as end:
                self._check(agent, end.value)
                self._steps.append((agent.path, "its end"))
                return Ended(agent.path, True, due.due_s, end.value)
            self._steps.append((agent.path, _words(effect)))
            match effect:
                case Think():
                    due.think(effect)
                    result = None
                case Infer():
                    result = self._answer(effect, due)
                case Spawn(child):
                    ended[child.path] = self._play(child, due.due_s)
                    result = child.path
                case Join(paths):
                    result = tuple(ended[path] for path in paths)
                    for one in result:
                        due.join(one.completed_s)

    def _answer(self, effect: Infer, due: DueClock) -> Inferred:
        self._requests_count += 1
        if self._requests_count > REQUESTS_MAX:
            raise _EnoughError
        due.intend()
        due.complete(due.due_s + effect.output_tokens * SECONDS_PER_TOKEN)
        return Inferred(True, effect.output_tokens, due.completed_s, None)

    def _check(self, agent: Agent, returned: object) -> None:
        try:
            pickle.dumps(returned)
        except Exception as fault:  # noqa: BLE001 - pickling fails in as many ways as there are objects
            raise ProgramError(
                self._name,
                agent.path,
                f"it returned {type(returned).__name__}, which cannot be sent to another process: {fault}",
            ) from None


def _words(effect: Effect) -> str:
    match effect:
        case Infer():
            nodes = "/".join(f"{node.name}[{start}:{end}]" for node, start, end in effect.prompt.path())
            rest = (effect.output_tokens, effect.echo, effect.kind, effect.opened_by)
            return f"Infer of {effect.prompt.length} tokens {rest} at {nodes}"
        case Spawn(child):
            return f"Spawn of {child.path} ({child.role})"
        case _:
            return repr(effect)
