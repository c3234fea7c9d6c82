"""What `--workload` names: an experiment, a profile, traces; none: coding agents that fit the server."""

from __future__ import annotations

from pathlib import Path

from swarm.config.profile import ProfileFile
from swarm.config.read import read_experiment, read_mapping
from swarm.config.workload import ProfileConfig, ReplayConfig, Workload
from swarm.errors import ConfigError, UsageError
from swarm.load.sizing import IDLE_CAP_S, fitted_agents
from swarm.urls import is_url

YAML_ENDINGS = (".yaml", ".yml")


def chosen_workload(named: str | None, context_tokens: int | None, *, agents_max: int) -> Workload:
    """Return the workload.

    Raises:
        UsageError: It is no file that holds one, or no agents fit the context.
    """
    if named is None:
        try:
            return fitted_agents(context_tokens, agents_max=agents_max)
        except ValueError as fault:
            raise UsageError(f"capacity: {fault}") from None
    path = Path(named)
    if is_url(named) or path.suffix.lower() not in YAML_ENDINGS:
        if not is_url(named) and not path.exists():
            raise UsageError(
                f"--workload {named}: there is no such file; give an experiment, a profile, or traces"
            )
        return ReplayConfig(
            path=path, format="auto", repeat=True, start="random", idle_cap_s=IDLE_CAP_S, on_broken="skip"
        )
    data = read_mapping(path)
    if "workload" in data:
        return read_experiment(path, []).workload
    if set(data) & set(ProfileFile.model_fields) - {"name"}:
        return ProfileConfig(path=path, start="random", idle_cap_s=IDLE_CAP_S)
    raise ConfigError(f"--workload {named}: has neither a workload, as experiments do, nor a profile's keys")
