"""Every exception that Swarm raises on purpose, on one page."""

import signal
from collections.abc import Sequence


class SwarmError(Exception):
    """Root of the tree; its text says what was asked, what was found and what to do."""


class ConfigError(SwarmError):
    """An experiment, fleet or profile file that cannot be used (exit code 2)."""


class UsageError(SwarmError):
    """A command line that cannot be used (exit code 2)."""


class TraceError(SwarmError):
    """A trace file that is broken, with the place and the reason."""

    def __init__(self, path: str, place: str, reason: str) -> None:
        super().__init__(f"{path}: {place}: {reason}")
        self.path = path
        self.place = place
        self.reason = reason


class Interrupted(SwarmError):
    """A run that a signal ended before it had begun (exit code 128 and the signal's number)."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name} before the run had begun")
        self.number = number


class RunError(SwarmError):
    """A run that could not be carried out (exit code 1)."""


class TargetError(RunError):
    """A target that cannot be used as a run would use it: nothing of the run was sent.

    `refusals` are the requests that tried it, by URL, as whoever raises it knows them.
    """

    def __init__(self, text: str, refusals: Sequence[tuple[str, object]] = ()) -> None:
        super().__init__(text)
        self.refusals = tuple(refusals)


class OutOfBounds(RunError):
    """What a server says of itself is too long, too slow, or no number that can be."""


class ProgramError(RunError):
    """A user's program that breaks the rules, with its name, its agent and what to do."""

    def __init__(self, program: str, agent: str, what: str) -> None:
        super().__init__(f"program {program}, agent {agent}: {what}")
        self.program = program
        self.agent = agent
        self.what = what

    def __reduce__(self) -> tuple[object, ...]:
        return ProgramError, (self.program, self.agent, self.what)


class AuditError(SwarmError):
    """A count that must balance does not: a defect of Swarm, never of the input."""
