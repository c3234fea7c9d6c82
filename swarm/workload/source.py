"""Sessions by number: what a load asks for when it starts one.

Each kind of workload is imported where it is asked for: a host plays one of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from swarm.config.experiment import Experiment
from swarm.config.read import read_profile
from swarm.config.workload import (
    ProfileConfig,
    ProgramConfig,
    PromptSetConfig,
    ReplayConfig,
    RoundsConfig,
    SyntheticConfig,
    Workload,
)
from swarm.errors import ConfigError, TraceError
from swarm.streams import stream
from swarm.urls import is_url
from swarm.workload.agent import SharedNodes
from swarm.workload.effects import Agent

if TYPE_CHECKING:
    from swarm.config.profile import ProfileFile
    from swarm.workload.recorded import RecordedSession
    from swarm.workload.script import SessionScript, Trie


@dataclass(frozen=True, slots=True)
class ProfileMaterial:
    """A profile, and which candidate its first sessions are, so that no host has to weigh them again."""

    profile: ProfileFile
    choices: tuple[int, ...]


ONE_SESSION = {"sessions_max": 1, "context_max": None, "context_min": None, "subagents": "any"}
"""What is read of a replay where one session is to be looked at."""
LEFT_OUT_NAMED_MAX = 3
NAME_SHOWN_MAX = 80
"""Characters of a broken part's name that are kept."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Broken parts of recorded sessions that are not played: how many, and the names of the first."""

    count: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        left = self.count - len(self.names)
        more = f" and {left:,} more" if left else ""
        parts = "broken part" if self.count == 1 else "broken parts"
        return f"left out {self.count:,} {parts} of workload.path: {', '.join(self.names)}{more}"


@dataclass(frozen=True, slots=True)
class Material:
    """What a workload needs from files, read once and sent to every host."""

    scripts: tuple[SessionScript, ...] = ()
    profile: ProfileMaterial | None = None
    folders: tuple[str, ...] = ()
    """Where a program's module lies on the machine that starts the run."""
    notes: tuple[str, ...] = ()
    """What a reader of the results must know of the files, in words."""


def joined(pieces: Iterable[Material]) -> Material:
    """Return the material that was cut into pieces, in their order."""
    all_pieces = tuple(pieces)
    return Material(
        scripts=tuple(script for piece in all_pieces for script in piece.scripts),
        profile=next((piece.profile for piece in all_pieces if piece.profile is not None), None),
        folders=next((piece.folders for piece in all_pieces if piece.folders), ()),
        notes=tuple(note for piece in all_pieces for note in piece.notes),
    )


class Source(Protocol):
    """Where sessions come from: session `index` is the same in every process and at every time."""

    count: int | None
    """How many sessions there are; None: as many as are asked for."""
    arrivals_s: tuple[float, ...]
    """When each was recorded to start; empty where they are not recorded, or played more than once."""

    def session(self, index: int) -> Agent:
        """Return the orchestrator of session `index`."""


def session_name(index: int) -> str:
    """Return the name of the run's session `index`."""
    return f"s{index:06d}"


def session_index(name: str) -> int:
    """Return the index of the session of that name."""
    return int(name[1:])


class SyntheticSource:
    """Sessions of the synthetic coding agent."""

    count: int | None = None
    arrivals_s: tuple[float, ...] = ()

    def __init__(self, config: SyntheticConfig, seed: int) -> None:
        from swarm.workload.synthetic import Setting, session_agent

        self._agent_of = session_agent
        self._warm_sessions = config.warm_sessions
        shared = SharedNodes()
        self._setting = Setting(config, seed, shared)
        self._cold = Setting(config.model_copy(update={"warm_start": False}), seed, shared)

    def session(self, index: int) -> Agent:
        """Return the orchestrator of session `index`."""
        first = self._warm_sessions
        setting = self._setting if first is None or index < first else self._cold
        return self._agent_of(setting, session_name(index))


class PromptSetSource:
    """Sessions that ask the prompts of a fixed set."""

    count: int | None = None
    arrivals_s: tuple[float, ...] = ()

    def __init__(self, config: PromptSetConfig, seed: int) -> None:
        from swarm.workload.prompt_set import session_agent

        self._agent_of = session_agent
        self._config = config
        self._shared = SharedNodes()
        self._seed = seed

    def session(self, index: int) -> Agent:
        """Return the agent that asks session `index`'s prompts."""
        name = session_name(index)
        return self._agent_of(self._config, shared=self._shared, seed=self._seed, session=name, index=index)


class RoundsSource:
    """Groups of clients that ask in rounds."""

    count: int | None = None
    arrivals_s: tuple[float, ...] = ()

    def __init__(self, config: RoundsConfig, seed: int) -> None:
        from swarm.workload.rounds import session_agent

        self._agent_of = session_agent
        self._config = config
        self._shared = SharedNodes()
        self._seed = seed

    def session(self, index: int) -> Agent:
        """Return the orchestrator of group `index`."""
        return self._agent_of(self._config, shared=self._shared, seed=self._seed, session=session_name(index))


class ReplaySource:
    """Recorded sessions in a drawn or the files' order, over again when `repeat` is set."""

    def __init__(self, config: ReplayConfig, seed: int, scripts: tuple[SessionScript, ...]) -> None:
        from swarm.workload.replay import session_agent

        self._agent_of = session_agent
        self._config = config
        cold = {
            "start": "beginning",
            "start_between": (0.0, 1.0),
            "start_by": "turns",
            "primers": 0,
            "warm_sessions": None,
        }
        self._cold = config.model_copy(update=cold)
        self._shared = SharedNodes()
        self._seed = seed
        self._scripts = scripts
        order = np.arange(len(scripts))
        if config.order == "shuffled":
            order = stream(seed, "replay-order", "").permutation(len(scripts))
        self._order = [int(k) for k in order]
        self.count: int | None = None if config.repeat else len(scripts)
        starts_s = () if config.repeat else (scripts[k].start_s * config.time_scale for k in self._order)
        self.arrivals_s = tuple(starts_s)

    def session(self, index: int) -> Agent:
        """Return the orchestrator of session `index`."""
        script = self._scripts[self._order[index % len(self._order)]]
        name = session_name(index)
        first = self._config.warm_sessions
        config = self._config if first is None or index < first else self._cold
        return self._agent_of(config, script, shared=self._shared, seed=self._seed, session=name)


class ProfileSource:
    """Sessions drawn from a profile, the ones that `swarm generate` writes for the same seed."""

    count: int | None = None
    arrivals_s: tuple[float, ...] = ()

    def __init__(self, config: ProfileConfig, seed: int, material: ProfileMaterial) -> None:
        from swarm.workload.profile.balance import Balanced
        from swarm.workload.profile.script import script_of
        from swarm.workload.replay import session_agent

        self._agent_of, self._script_of = session_agent, script_of
        shared = material.profile.subagents
        self._child_shared_tokens = shared.shared_tokens if shared is not None else 0.0
        self._balanced = Balanced(material.profile, seed, material.choices)
        self._shared = SharedNodes()
        self._seed = seed
        self._replay = ReplayConfig(
            path=config.path,
            idle_cap_s=config.idle_cap_s,
            time_scale=config.time_scale,
            replies=config.replies,
            shared_prefix=config.shared_prefix,
            start=config.start,
            stagger_s=config.stagger_s,
        )

    def session(self, index: int) -> Agent:
        """Return the orchestrator of session `index`."""
        name = session_name(index)
        plan = self._balanced.plan(index)
        script = self._script_of(plan, name=name, child_shared_tokens=self._child_shared_tokens)
        return self._agent_of(self._replay, script, shared=self._shared, seed=self._seed, session=name)


class ProgramSource:
    """Sessions of a user's program."""

    count: int | None = None
    arrivals_s: tuple[float, ...] = ()

    def __init__(self, config: ProgramConfig, seed: int, folders: tuple[str, ...]) -> None:
        from swarm.workload.program.source import session_agent, spec_of

        self._agent_of = session_agent
        self._config = config
        self._spec = spec_of(config, seed, folders)
        self._shared = SharedNodes()

    def session(self, index: int) -> Agent:
        """Return the orchestrator of session `index`."""
        name = session_name(index)
        return self._agent_of(self._config, self._spec, shared=self._shared, session=name)


class NoSessions:
    """The source of a host that runs agents which others have started."""

    count: int | None = 0
    arrivals_s: tuple[float, ...] = ()

    def session(self, index: int) -> Agent:
        """Refuse: there are none."""
        raise AssertionError(f"session {index} is asked of a source that has none")


def compile_scripts(
    sessions: Iterable[RecordedSession], on_broken: Callable[[TraceError], None]
) -> tuple[SessionScript, ...]:
    """Compile sessions; those with ids of a shared namespace are placed into one tree.

    A session that cannot be played is handed to `on_broken` and left out.
    """
    from swarm.workload.script import Trie, compile_session

    tries: dict[str, Trie] = {}
    scripts = []
    for session in sessions:
        trie = None
        if session.namespace.startswith("global"):
            trie = tries.setdefault(session.namespace, Trie(session.block_tokens))
        try:
            scripts.append(compile_session(session, trie))
        except TraceError as error:
            on_broken(error)
    nodes = {scope: tuple(trie.nodes) for scope, trie in tries.items()}
    return tuple(
        script if script.scope is None else replace(script, nodes=nodes[script.scope]) for script in scripts
    )


def load_scripts(config: Workload, seed: int, sessions: int) -> Material:
    """Read what a workload needs from files, once, in the process that starts the run.

    `sessions` is how many sessions the run will surely start.
    """
    match config:
        case SyntheticConfig() | PromptSetConfig() | RoundsConfig():
            return Material()
        case ProfileConfig():
            from swarm.workload.profile.balance import BALANCED_MAX, GROUP, Balanced

            profile = read_profile(config.path)
            balanced = Balanced(profile, seed, ())
            ahead = min(-(-sessions // GROUP) * GROUP, BALANCED_MAX)
            chosen = (balanced.choice(index) for index in range(ahead))
            return Material(profile=ProfileMaterial(profile, tuple(chosen)))
        case ReplayConfig():
            return _recorded_scripts(config)
        case ProgramConfig():
            from swarm.workload.program.source import check_program

            return Material(folders=check_program(config, seed))


def check_source(config: Workload, seed: int) -> None:
    """Look at the files that a workload names, as far as that takes no time.

    Raises:
        ConfigError, TraceError: A profile that is none, a path without sessions, a broken first one; a
            program that cannot be imported, breaks a rule, or differs when it is run again.
    """
    match config:
        case ProfileConfig():
            read_profile(config.path)
        case ReplayConfig() if not is_url(str(config.path)):
            _recorded_scripts(config.model_copy(update=ONE_SESSION))
        case ProgramConfig():
            from swarm.workload.program.source import check_program

            check_program(config, seed)
        case _:
            pass


def left_out(experiment: Experiment, material: Material) -> list[str]:
    """Return in words what of a workload's files is not played, or not as it was recorded."""
    from swarm.workload.unplayed import unplayed

    return [*material.notes, *unplayed(experiment, material.scripts)]


def _recorded_scripts(config: ReplayConfig) -> Material:
    from swarm.workload.formats import open_format, read_opened
    from swarm.workload.resized import resized
    from swarm.workload.session_gaps import with_gaps_cut

    skipped = _Skipped()
    opened = open_format(config.format)

    def on_broken(error: TraceError) -> None:
        if config.on_broken == "skip" or (config.on_broken == "auto" and opened.is_of_logs(error.path)):
            skipped.take(error)
            return
        reason = f"{error.reason}; workload.on_broken: skip leaves such parts out"
        raise TraceError(error.path, error.place, reason)

    sessions = read_opened(opened, config.path, on_broken)
    if config.sessions_max is not None:
        sessions = (s for s, _ in zip(sessions, range(config.sessions_max), strict=False))
    cap_s = config.session_idle_cap_s
    if cap_s is not None:
        sessions = (with_gaps_cut(session, cap_s) for session in sessions)
    scripts = compile_scripts(sessions, on_broken)
    if not scripts:
        raise ConfigError(f"workload.path: {config.path} holds no sessions of format {config.format!r}")
    left_out = LeftOut(skipped.count, tuple(skipped.names))
    scripts, notes = resized(config, scripts)
    return Material(scripts=scripts, notes=(*((str(left_out),) if left_out.count else ()), *notes))


class _Skipped:
    """Takes broken parts: each is named on stderr, and the first are kept by name."""

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []

    def take(self, error: TraceError) -> None:
        """Name a part, and count it."""
        print(f"swarm: skipped: {error}", file=sys.stderr, flush=True)
        self.count += 1
        if len(self.names) < LEFT_OUT_NAMED_MAX:
            place = "" if error.place == "file" else f", {error.place}"
            self.names.append(f"{Path(error.path).name}{place}"[:NAME_SHOWN_MAX])


def open_source(config: Workload, seed: int, material: Material) -> Source:
    """Return the sessions of a workload."""
    match config:
        case SyntheticConfig():
            return SyntheticSource(config, seed)
        case ReplayConfig():
            return ReplaySource(config, seed, material.scripts)
        case PromptSetConfig():
            return PromptSetSource(config, seed)
        case RoundsConfig():
            return RoundsSource(config, seed)
        case ProgramConfig():
            return ProgramSource(config, seed, material.folders)
        case ProfileConfig():
            profile = material.profile
            return NoSessions() if profile is None else ProfileSource(config, seed, profile)
