"""A user's program held to its rules: every effect is checked, and a fault names program and agent."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from swarm.context.tree import Node, Prompt
from swarm.errors import ConfigError, ProgramError
from swarm.workload.agent import SharedNodes
from swarm.workload.effects import Agent, Effect, Infer, Join, Program, Spawn, Think, ThinkKind, TurnKind
from swarm.workload.program.context import AgentContext, ProgramSpec
from swarm.workload.program.find import known_program, told
from swarm.workload.program.step_watch import STEP_S_MAX, StepTooLong, StepWatch

EFFECTS_MAX = 10_000
"""Effects of one agent with no request between them: one that only thinks never lets others run."""
SHOWN_MAX = 120
SINCE = ("now", "completed", "intended")
_WATCH = StepWatch()


def start(
    spec: ProgramSpec,
    shared: SharedNodes,
    name: str,
    *,
    path: str,
    role: str,
    base: Prompt | None,
    parameters: dict[str, Any],
) -> Program:
    """Return the checked program of one agent, which runs the function of that name."""
    try:
        function = known_program(name, spec.folders)
    except ConfigError as fault:
        raise ProgramError(spec.program, path, str(fault)) from None
    context = AgentContext(spec, shared, start, path=path, role=role, base=base, parameters=parameters)
    return _named(name, _Guard(name, path, context).run(partial(function, context)))


def start_own(name: str, path: str, make: Callable[[], Program]) -> Program:
    """Return the checked program of an agent that a program made without `AgentContext.spawn`."""
    return _named(name, _Guard(name, path, None).run(make))


def _named(name: str, program: Any) -> Program:
    program.__qualname__ = name
    named: Program = program
    return named


class _Guard:
    """Checks what one agent's program yields."""

    def __init__(self, name: str, path: str, context: AgentContext | None) -> None:
        self._name = name
        self._path = path
        self._context = context
        self._children: set[str] = set()
        """Paths that were spawned."""
        self._unjoined: set[str] = set()
        self._without_request = 0
        self._joined_s = -math.inf
        self._program: Any = None

    def run(self, make: Callable[[], Any]) -> Generator[Effect, Any, object]:
        """Carry on the program, effect by effect."""
        program = self._program = self._made(make)
        context = self._context
        result: Any = None
        while True:
            try:
                with _WATCH.step():
                    yielded = program.send(result)
            except StopIteration as end:
                return end.value
            except StepTooLong:
                raise self._error(
                    f"it took more than {STEP_S_MAX:g} s between two effects{self._where()}, and nothing "
                    "else runs meanwhile: yield Think(seconds) to wait, and leave long work out"
                ) from None
            except ProgramError:
                raise
            except Exception as fault:
                raise self._error(f"it raised {told(fault)}") from fault
            effect = self._checked(yielded)
            if context is not None:
                context.yielded(yielded)
            result = yield effect
            if context is not None:
                context.told(yielded, result)
            if isinstance(effect, Join):
                self._heard(result)

    def _made(self, make: Callable[[], Any]) -> Any:
        try:
            with _WATCH.step():
                program = make()
        except StepTooLong:
            raise self._error(f"it took more than {STEP_S_MAX:g} s before its first effect") from None
        except ProgramError:
            raise
        except Exception as fault:
            raise self._error(f"it raised {told(fault)}") from fault
        if not inspect.isgenerator(program):
            if inspect.iscoroutine(program):
                program.close()
            raise self._error(
                f"a generator is expected, found {_shown(program)}; write a function that yields "
                "Think, Infer, Spawn or Join"
            )
        return program

    def _checked(self, effect: Any) -> Effect:
        """Return the effect with plain numbers, or raise ProgramError."""
        self._without_request += 1
        if self._without_request > EFFECTS_MAX:
            raise self._error(
                f"it yielded {EFFECTS_MAX:,} effects and no request{self._where()}; is a loop endless?"
            )
        match effect:
            case Think():
                return self._think(effect)
            case Infer():
                self._without_request = 0
                return self._infer(effect)
            case Spawn():
                return self._spawn(effect)
            case Join():
                return self._join(effect)
        hint = "yield an effect: Think, Infer, Spawn or Join"
        if inspect.isgenerator(effect):
            hint = "write `yield from` to run another generator"
        elif effect in (Think, Infer, Spawn, Join):
            hint = f"{effect.__name__} needs its arguments"
        elif isinstance(effect, Agent):
            hint = "write `yield Spawn(agent)`"
        raise self._error(f"it yielded {_shown(effect)}{self._where()}; {hint}")

    def _think(self, effect: Think) -> Think:
        if effect.kind not in get_args(ThinkKind) or effect.since not in SINCE:
            kinds = ", ".join(get_args(ThinkKind))
            self._refuse(effect, f"kind is one of {kinds}, since one of {', '.join(SINCE)}")
        try:
            seconds = float(effect.seconds)
        except (TypeError, ValueError):
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            self._refuse(effect, "seconds are a number from 0 on")
        return effect if type(effect.seconds) is float else effect._replace(seconds=seconds)

    def _infer(self, effect: Any) -> Infer:
        prompt = effect.prompt
        if not isinstance(prompt, Prompt) or not isinstance(prompt.node, Node):
            self._refuse(
                effect, "prompt is a place in a context, such as agent.prompt; or yield agent.infer(tokens)"
            )
        try:
            length, tokens = operator.index(prompt.length), operator.index(effect.output_tokens)
        except TypeError:
            length = tokens = 0
        if length < 1 or tokens < 1:
            self._refuse(effect, "a prompt and an output have 1 token at least, and whole ones")
        if effect.kind not in get_args(TurnKind) or effect.opened_by not in get_args(ThinkKind):
            self._refuse(effect, f"kind is one of {', '.join(get_args(TurnKind))}")
        checked: Infer = effect._replace(
            prompt=Prompt(prompt.node, length), output_tokens=tokens, echo=bool(effect.echo)
        )
        return checked

    def _spawn(self, effect: Any) -> Spawn:
        agent = effect.agent
        if not isinstance(agent, Agent):
            self._refuse(effect, "an Agent is expected; or yield agent.spawn(function)")
        above, _, ordinal = agent.path.rpartition("/")
        if above != self._path or not ordinal or agent.parent != self._path:
            self._refuse(effect, f"a child's path is {self._path}/NUMBER, and its parent {self._path}")
        if agent.session != self._path.partition("/")[0]:
            self._refuse(effect, "a child's session is its parent's")
        if agent.path in self._children:
            self._refuse(effect, f"{agent.path} was spawned before; give each child a path of its own")
        try:
            after_s = float(effect.after_s)
        except (TypeError, ValueError):
            after_s = math.nan
        if not 0 <= after_s < math.inf:
            self._refuse(effect, "after_s is a number of seconds from 0 on")
        self._children.add(agent.path)
        self._unjoined.add(agent.path)
        if isinstance(agent.make, partial) and agent.make.func is start:
            return Spawn(agent, after_s)
        return Spawn(replace(agent, make=partial(start_own, self._name, agent.path, agent.make)), after_s)

    def _join(self, effect: Any) -> Join:
        if isinstance(effect.paths, str) or not all(isinstance(path, str) for path in effect.paths):
            self._refuse(effect, "a tuple of paths is expected, as Spawn returned them: Join((path,))")
        paths = tuple(effect.paths)
        for place, path in enumerate(paths):
            if path not in self._unjoined or path in paths[:place]:
                why = "was joined before" if path in self._children else "is no child of this agent"
                self._refuse(effect, f"{path} {why}")
        self._unjoined.difference_update(paths)
        return Join(paths)

    def _heard(self, ended: Any) -> None:
        """Take children that have worked as a sign of life."""
        last_s = max((one.completed_s for one in ended), default=-math.inf)
        if last_s > self._joined_s:
            self._joined_s, self._without_request = last_s, 0

    def _refuse(self, effect: Effect, rule: str) -> None:
        raise self._error(f"it yielded {_shown(effect)}{self._where()}; {rule}")

    def _where(self) -> str:
        """Return in words where the program stands, or nothing once it has ended."""
        program, at = self._program, None
        while inspect.isgenerator(program) and program.gi_frame is not None:
            at = f" ({program.gi_frame.f_code.co_filename}:{program.gi_frame.f_lineno})"
            program = program.gi_yieldfrom
        return at or ""

    def _error(self, what: str) -> ProgramError:
        return ProgramError(self._name, self._path, what)


def _shown(found: Any) -> str:
    try:
        text = repr(found)
    except Exception:  # noqa: BLE001 - the text of a user's object is for the eye alone
        text = f"<{type(found).__name__}>"
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"
