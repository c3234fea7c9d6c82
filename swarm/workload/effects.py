"""What an agent asks of the world, and what it is told: the only surface between programs and clocks.

A program is a generator. It yields an effect and is sent its result; it never reads a clock, a socket or
a shared random stream. Each agent has a due-clock, which its interpreter keeps:

- `Think` moves it forward, never backward: to `seconds` after itself, after the last request's completion, or
  after the time at which that was intended. An agent's start counts as both before its first request.
- `Infer` is intended at it, and sets it to the completion. The result is `Inferred`.
- `Spawn` starts a child with a copy of it, or `after_s` later, which the parent does not wait for. The result
  is the child's path.
- `Join` waits for children and sets it to the latest of their clocks and its own. The result is a tuple
  of `Ended`, in the order asked; each holds what the child's program returned.

Everything a program is told can be restored from the durable rows (agent path, turn), so a lost agent
resumes by running its program from the start, answered from its rows.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from swarm.context.tree import Prompt

ThinkKind = Literal["start", "tool", "human"]
TurnKind = Literal["work", "compact", "primer"]


class Think(NamedTuple):
    """Client-side time: a tool's run or a person's wait."""

    seconds: float
    kind: ThinkKind = "tool"
    since: Literal["now", "completed", "intended"] = "now"


class Infer(NamedTuple):
    """One model request.

    `echo` says that the reply continues the prompt's own node (the next prompt holds what was answered);
    otherwise it lies on a branch of its own; `keep_reply` asks for the reply's text even so.
    `rewritten_tokens` counts tokens of the agent's previous prompt that this one no longer starts with.
    `opened_by` is what the think before it was.
    """

    prompt: Prompt
    output_tokens: int
    echo: bool
    kind: TurnKind = "work"
    opened_by: ThinkKind = "tool"
    rewritten_tokens: int = 0
    keep_reply: bool = False


class Spawn(NamedTuple):
    """Start a child agent at the parent's due time, or so many seconds after it, while the parent goes on."""

    agent: "Agent"
    after_s: float = 0.0


class Join(NamedTuple):
    """Wait until the agents at these paths have ended."""

    paths: tuple[str, ...]


class Inferred(NamedTuple):
    """What a program is told of its request; `reply` is None where planned text stands in for it."""

    ok: bool
    output_tokens: int
    completed_s: float
    reply: str | None


class Ended(NamedTuple):
    """What a program is told of a child that has ended."""

    path: str
    ok: bool
    completed_s: float
    returned: object
    """What the child's program returned; plain data that can be sent to another process."""


Effect = Think | Infer | Spawn | Join
Program = Generator[Effect, Any, object]


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent ready to start: plain data that can be sent to another process.

    `path` is `session/k/j...`: the session's name, then the ordinal of each child. `make` is called once, in
    the process that runs the agent, and must be picklable (a partial of a module's function).
    """

    path: str
    session: str
    parent: str | None
    role: str
    make: Callable[[], Program]
    first_turn: int = 0
    """Number of its first request in its rows: one that asks in the place of others goes on counting."""
