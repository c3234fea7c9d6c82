"""What a user's program is given: its agent's context, chance, parameters and children."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from swarm.context.opening import PROGRAM
from swarm.context.tree import Prompt, root
from swarm.errors import ProgramError
from swarm.streams import stream
from swarm.workload.agent import Context, SharedNodes
from swarm.workload.effects import Agent, Effect, Infer, Inferred, Program, Spawn, Think, ThinkKind, TurnKind

Function = Callable[["AgentContext"], Generator[Effect, Any, object]]
Start = Callable[..., Program]


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """What all agents of a program have in common; plain data that can be sent to another process."""

    program: str
    """The session's function, `module:function`."""
    folders: tuple[str, ...]
    """Where its module is looked for, before what is installed."""
    seed: int
    echo: bool
    """Contexts hold what the model answered; otherwise planned text of that length."""


class AgentContext:
    """One agent as its program sees it: everything that it would send next, and who it is.

    A context is counted in tokens and append-only, until the program goes back to an earlier place in it.
    Nothing here reads a clock or draws from a shared stream, so that the program can be run again.
    """

    __slots__ = (
        "_asked",
        "_base",
        "_chance",
        "_children_count",
        "_context",
        "_is_kept",
        "_opened_by",
        "_sent",
        "_shared",
        "_spec",
        "_start",
        "parameters",
        "path",
        "role",
        "session",
    )

    def __init__(
        self,
        spec: ProgramSpec,
        shared: SharedNodes,
        start: Start,
        *,
        path: str,
        role: str,
        base: Prompt | None,
        parameters: dict[str, Any],
    ) -> None:
        self._spec = spec
        self._shared = shared
        self._start = start
        self.path = path
        """The session's name, then the ordinal of each child: `s000017/0/2`."""
        self.session = path.partition("/")[0]
        """The session's name: `s000017`."""
        self.role = role
        self.parameters: dict[str, Any] = copy.deepcopy(parameters)
        """`workload.parameters`, with those that the parent gave in `spawn`."""
        self._base = base
        self._context: Context | None = None
        self._children_count = 0
        self._chance: dict[str, np.random.Generator] = {}
        self._opened_by: ThinkKind = "start"
        self._sent: Prompt | None = None
        self._asked: Infer | None = None
        self._is_kept = False

    @property
    def length(self) -> int:
        """Tokens in the context."""
        return self.prompt.length

    @property
    def prompt(self) -> Prompt:
        """The place that the context has reached: to go back to by `branch`, or to hand to a child."""
        if self._context is not None:
            return self._context.tip
        return root(f"{self.path}#0") if self._base is None else self._base

    def begin_with(self, name: str, tokens: int) -> None:
        """Begin with `tokens` tokens that every agent which begins with the same names has (tools, system).

        To be called before anything is appended; a second one follows the first.
        """
        count = self._count("begin_with", tokens, least=1)
        if self._context is not None:
            raise self._error(f"begin_with({name!r}, {tokens}) comes first, before append, infer and branch")
        if self._base is None:
            node = root(f"{PROGRAM}{name}/{count}").node
            self._base = Prompt(self._shared.one(node), count)
        else:
            branch = self._base.branch(f"{self._base.node.name}/{name}/{count}")
            self._base = Prompt(self._shared.one(branch.node), self._base.length + count)

    def append(self, tokens: int) -> None:
        """Append `tokens` tokens that only this agent has: a tool's result, a person's message, a brief."""
        self._own().append(self._count("append", tokens, least=0))

    def append_reply(self, inferred: Inferred, output_tokens: int) -> None:
        """Append the answer to an `Infer` of your own making; `infer` does that by itself."""
        self._own().append_reply(inferred, output_tokens)

    def branch(self, at: Prompt) -> None:
        """Go back to a place, and on from there: what followed it is gone from the context."""
        if not isinstance(at, Prompt):
            raise self._error(f"branch: a place such as agent.prompt is expected, got {at!r}")
        if self._context is None:
            self._base = at if at.length else None
        else:
            self._context.branch_at(at)

    def infer(self, output_tokens: int, *, keep: bool = True, kind: TurnKind = "work") -> Infer:
        """Return the effect that sends the context and asks for `output_tokens` tokens; to be yielded.

        The answer is then at the context's end, unless `keep` is False. `kind="compact"` marks a request
        for a summary.
        """
        count = self._count("infer", output_tokens, least=1)
        prompt = self._own().tip
        if not prompt.length:
            raise self._error("infer: the context is empty; append something first")
        rewritten = 0 if self._sent is None else self._sent.length - _shared_tokens(self._sent, prompt)
        echo = keep and self._spec.echo
        self._asked = Infer(prompt, count, echo, kind, self._opened_by, rewritten)
        self._is_kept = keep
        return self._asked

    def chance(self, purpose: str) -> np.random.Generator:
        """Return this agent's generator for a purpose: the same numbers whenever the agent is run again."""
        if purpose not in self._chance:
            self._chance[purpose] = stream(self._spec.seed, f"program/{purpose}", self.path)
        return self._chance[purpose]

    def spawn(
        self,
        function: Function | str,
        *,
        role: str = "subagent",
        base: Prompt | None = None,
        **parameters: Any,
    ) -> Spawn:
        """Return the effect that starts a child, which runs `function`; its result is the child's path.

        `function` is one of a module, or its name `module:function`. The child's context is empty, or starts
        at `base`, a place in this one's. `parameters` are added to this agent's own.
        """
        name = function if isinstance(function, str) else f"{function.__module__}:{function.__qualname__}"
        if "<" in name:
            raise self._error(
                f"spawn: {name} has no name in a module; move the function to the module's level"
            )
        path = f"{self.path}/{self._children_count}"
        self._children_count += 1
        make = partial(
            self._start,
            self._spec,
            self._shared,
            name,
            path=path,
            role=role,
            base=base,
            parameters={**self.parameters, **parameters},
        )
        return Spawn(Agent(path, self.session, self.path, role, make))

    def yielded(self, effect: Effect) -> None:
        """Take notice of an effect before it is carried out."""
        if isinstance(effect, Think):
            self._opened_by = effect.kind
        elif isinstance(effect, Infer):
            if effect is self._asked and effect.prompt != self.prompt:
                raise self._error("the context has changed between infer() and its yield; yield it at once")
            self._sent, self._opened_by = effect.prompt, "tool"

    def told(self, effect: Effect, result: Any) -> None:
        """Take notice of an effect's result: the answer to `infer` is appended."""
        if effect is not self._asked:
            return
        asked, self._asked = self._asked, None
        if asked is not None and self._is_kept:
            self._own().append_reply(result, asked.output_tokens)

    def _own(self) -> Context:
        """Return the context, from now on a branch of this agent's own."""
        if self._context is None:
            self._context = Context(self.path, self.prompt)
        return self._context

    def _count(self, what: str, tokens: Any, *, least: int) -> int:
        try:
            count = operator.index(tokens)
        except TypeError:
            raise self._error(
                f"{what}: a whole number of tokens is expected, got {tokens!r}; round it by int()"
            ) from None
        if count < least:
            raise self._error(f"{what}: {least} tokens at least are expected, got {count}")
        return count

    def _error(self, what: str) -> ProgramError:
        return ProgramError(self._spec.program, self.path, what)


def _shared_tokens(one: Prompt, other: Prompt) -> int:
    """Return how many tokens two prompts have in common from their start."""
    common = 0
    for ours, theirs in zip(one.path(), other.path(), strict=False):
        if ours.node is not theirs.node:
            break
        common = min(ours.end, theirs.end)
        if ours.end != theirs.end:
            break
    return common
