"""The command `swarm`: arguments in, an exit code out; what a command does is in its own room.

Rooms are imported inside the commands, so that `swarm --help` and `swarm validate` start quickly.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from swarm.errors import ConfigError, SwarmError, UsageError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the experiment.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Override the experiment's seed.", min=0)]
Out = Annotated[Path | None, typer.Option("--out", help="The run folder: absent or empty.")]


@app.callback()
def swarm() -> None:
    """Emulate a swarm of coding agents against an inference fleet."""


@app.command()
def run(
    experiment: Annotated[Path | None, typer.Argument(help="The experiment's YAML file.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Base URL; none: the emulated fleet.")
    ] = None,
    overrides: Overrides = None,
    seed: Seed = None,
    out: Out = None,
) -> None:
    """Drive a live target with the swarm, from Ray actors."""
    from swarm.cluster.run import run_live
    from swarm.config.read import read_experiment

    if experiment is None:
        raise UsageError("swarm run: an EXPERIMENT is expected")
    changes = list(overrides or ())
    if target is not None:
        changes.append(f"target.urls=['{target}']")
    config = read_experiment(experiment, changes, seed=seed)
    raise typer.Exit(run_live(config, out))


@app.command()
def simulate(
    experiment: Annotated[Path, typer.Argument(help="The experiment's YAML file.")],
    overrides: Overrides = None,
    seed: Seed = None,
    out: Out = None,
) -> None:
    """Run the same swarm against the emulated fleet in virtual time."""
    from swarm.config.read import read_experiment
    from swarm.report.simulated import run_simulated

    config = read_experiment(experiment, list(overrides or ()), seed=seed)
    raise typer.Exit(run_simulated(config, out))


@app.command()
def validate(
    experiment: Annotated[Path, typer.Argument(help="The experiment's YAML file.")],
    overrides: Overrides = None,
) -> None:
    """Check an experiment without starting anything."""
    from swarm.config.read import read_experiment

    config = read_experiment(experiment, list(overrides or ()))
    typer.echo(f"{experiment}: valid ({config.name}, seed {config.seed})")


def main() -> None:
    """Run the command line: 2 for a wrong command or file, 1 for a failed run."""
    try:
        app(standalone_mode=True)
    except (ConfigError, UsageError) as fault:
        print(f"swarm: {fault}", file=sys.stderr)
        sys.exit(2)
    except SwarmError as fault:
        print(f"swarm: {fault}", file=sys.stderr)
        sys.exit(1)
