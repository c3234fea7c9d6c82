"""One session of a program run twice against a scripted world: what differs then would differ on a resume."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from itertools import zip_longest

from swarm.errors import ProgramError
from swarm.workload.effects import Agent, Effect, Infer, Spawn
from swarm.workload.scripted import EnoughError, ScriptedWorld

REQUESTS_MAX = 200
"""Of a rehearsal; a program may go on for ever."""
Step = tuple[str, str]
"""An agent's path and what it did, in words."""


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


class _Rehearsal(ScriptedWorld):
    """One session, and all that its agents did."""

    def __init__(self, name: str) -> None:
        super().__init__(requests_max=REQUESTS_MAX)
        self._name = name
        self._steps: list[Step] = []

    def steps(self, agent: Agent) -> list[Step]:
        """Return what the agent and its children did, each child as a whole where it was spawned."""
        with suppress(EnoughError):
            self.play(agent, 0.0)
        return self._steps

    def saw(self, agent: Agent, effect: Effect) -> None:
        """Note a step."""
        self._steps.append((agent.path, _words(effect)))

    def saw_end(self, agent: Agent, returned: object) -> None:
        """Note an end, whose result must be one that can be sent."""
        self._check(agent, returned)
        self._steps.append((agent.path, "its end"))

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
