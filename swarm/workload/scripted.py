"""A scripted world: every request of a session is answered in full, at a pace, with no fleet."""

from __future__ import annotations

from typing import Any

from swarm.workload.due import DueClock
from swarm.workload.effects import Agent, Effect, Ended, Infer, Inferred, Join, Spawn, Think

SECONDS_PER_TOKEN = 0.01
"""An answer's pace: quicker than servers are, so that work which is counted here is rather put too high."""


class EnoughError(Exception):
    """A session has made as many requests as were to be seen of it."""


class ScriptedWorld:
    """Plays a session, each child as a whole where it is spawned; a subclass says what it sees."""

    def __init__(self, *, requests_max: int) -> None:
        self._requests_left = requests_max

    def play(self, agent: Agent, start_s: float) -> Ended:
        """Play an agent to its end; raises EnoughError at the request after the last that is allowed."""
        program, due = agent.make(), DueClock(start_s)
        ended: dict[str, Ended] = {}
        result: Any = None
        try:
            while True:
                try:
                    effect = program.send(result)
                except StopIteration as end:
                    self.saw_end(agent, end.value)
                    return Ended(agent.path, True, due.due_s, end.value)
                self.saw(agent, effect)
                match effect:
                    case Think():
                        due.think(effect)
                        result = None
                    case Infer():
                        result = self._answer(effect, due)
                    case Spawn(child, after_s):
                        ended[child.path] = self.play(child, due.due_s + after_s)
                        result = child.path
                    case Join(paths):
                        result = tuple(ended[path] for path in paths)
                        for one in result:
                            due.join(one.completed_s)
        finally:
            self.left(start_s, due.due_s)

    def saw(self, agent: Agent, effect: Effect) -> None:
        """See what an agent yields."""

    def saw_answer(self, effect: Infer) -> None:
        """See a request that is answered."""

    def saw_end(self, agent: Agent, returned: object) -> None:
        """See an agent end by itself."""

    def left(self, start_s: float, end_s: float) -> None:
        """See the time over which an agent was played, however that ended."""

    def _answer(self, effect: Infer, due: DueClock) -> Inferred:
        if not self._requests_left:
            raise EnoughError
        self._requests_left -= 1
        self.saw_answer(effect)
        due.intend()
        due.complete(due.due_s + effect.output_tokens * SECONDS_PER_TOKEN)
        return Inferred(True, effect.output_tokens, due.completed_s, None)
