"""Sessions of a user's program."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from swarm.config.workload import ProgramConfig
from swarm.errors import ConfigError, ProgramError
from swarm.workload.agent import SharedNodes
from swarm.workload.effects import Agent
from swarm.workload.program.context import ProgramSpec
from swarm.workload.program.find import find_program
from swarm.workload.program.guard import start
from swarm.workload.program.rehearsal import rehearse

FIRST = "s000000"


def session_agent(config: ProgramConfig, spec: ProgramSpec, *, shared: SharedNodes, session: str) -> Agent:
    """Return the agent that runs the program's function as a session."""
    make = partial(
        start,
        spec,
        shared,
        spec.program,
        path=session,
        role="orchestrator",
        base=None,
        parameters=dict(config.parameters),
    )
    return Agent(session, session, None, "orchestrator", make)


def spec_of(config: ProgramConfig, seed: int, folders: tuple[str, ...]) -> ProgramSpec:
    """Return what the agents have in common; the module is imported here, where no agent waits for it.

    `folders` are looked in after the configuration's and the working directory.
    """
    spec = ProgramSpec(
        program=config.program,
        folders=(str(config.path), ".", *folders),
        seed=seed,
        echo=config.replies == "actual",
    )
    find_program(spec.program, spec.folders)
    return spec


def check_program(config: ProgramConfig, seed: int) -> tuple[str, ...]:
    """Rehearse the first session; return the folders of this machine where the program lies.

    Raises:
        ConfigError: The program cannot be imported, breaks a rule, or differs when it is run again.
    """
    spec = spec_of(config, seed, ())
    try:
        rehearse(config.program, lambda: session_agent(config, spec, shared=SharedNodes(), session=FIRST))
    except ProgramError as fault:
        raise ConfigError(f"workload.program: {fault}") from fault
    return str(Path(config.path).resolve()), str(Path.cwd())
