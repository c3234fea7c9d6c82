"""YAML files and `--set` to frozen models, with errors that name the key, the value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.config.strict import Strict
from swarm.errors import ConfigError

M = TypeVar("M", bound=Strict)
FILE_BYTES_MAX = 4 * 1024 * 1024


def read_experiment(path: Path, overrides: list[str], *, seed: int | None = None) -> Experiment:
    """Return the experiment of a file with `KEY=VALUE` overrides; a fleet's file is read in place."""
    data = _mapping(path)
    _read_fleet_in(data, path.parent)
    _resolve_paths(data, path.parent)
    for override in overrides:
        _set(data, override)
    if seed is not None:
        data["seed"] = seed
    _read_fleet_in(data, Path())
    return validate(Experiment, data, str(path))


def read_fleet(path: Path, overrides: list[str]) -> FleetConfig:
    """Return the fleet of a file; an experiment's file serves too, by its `fleet`."""
    data = _mapping(path)
    if "workload" in data:
        return read_experiment(path, overrides).fleet
    for override in overrides:
        _set(data, override)
    return validate(FleetConfig, data, str(path))


def validate(model: type[M], data: Any, where: str) -> M:
    """Return the model, or raise ConfigError with every fault: key, what was found, what is allowed."""
    try:
        return model.model_validate(data)
    except ValidationError as fault:
        lines = [_explain(error) for error in fault.errors()]
        raise ConfigError(f"{where}: {len(lines)} fault(s)\n" + "\n".join(lines)) from None


def _explain(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "(the file)"
    message = error["msg"]
    if error["type"] == "extra_forbidden":
        return f"  {key}: unknown key; check its spelling and indentation"
    if error["type"] == "missing":
        return f"  {key}: required, not found"
    found = repr(error.get("input"))
    return f"  {key}: found {found[:120]}; {message[0].lower()}{message[1:]}"


def _mapping(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX} bytes; is it an experiment?")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as fault:
        raise ConfigError(f"{path}: is not YAML: {str(fault)[:300]}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a mapping of keys is expected, found {type(data).__name__}")
    return data


def _read_fleet_in(data: dict[str, Any], folder: Path) -> None:
    """Replace `fleet: FILE`, or `fleet: {base: FILE, ...}` with keys to change, by what the file holds."""
    fleet = data.get("fleet")
    changes: dict[str, Any] = {}
    if isinstance(fleet, dict) and isinstance(fleet.get("base"), str):
        changes = {key: value for key, value in fleet.items() if key != "base"}
        fleet = fleet["base"]
    if isinstance(fleet, str):
        data["fleet"] = {**_mapping(folder / fleet), **changes}


def _resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Paths inside a file are relative to the file."""
    workload = data.get("workload")
    if isinstance(workload, dict) and isinstance(workload.get("path"), str):
        workload["path"] = str(folder / workload["path"])


def _set(data: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set {override}: KEY=VALUE is expected, as in --set load.agents=20")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise ConfigError(f"--set {override}: the value is not YAML: {str(fault)[:200]}") from None
    at: Any = data
    parts = key.split(".")
    for part in parts[:-1]:
        at = _step(at, part, key)
    if isinstance(at, list):
        at[_index(at, parts[-1], key)] = value
    else:
        at[parts[-1]] = value


def _step(at: Any, part: str, key: str) -> Any:
    if isinstance(at, list):
        return at[_index(at, part, key)]
    below = at.setdefault(part, {}) if isinstance(at, dict) else None
    if not isinstance(below, dict | list):
        raise ConfigError(f"--set {key}: {part!r} holds {below!r}, which has no keys below it")
    return below


def _index(at: list[Any], part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(at):
        raise ConfigError(f"--set {key}: {part!r} is not an index of a list of {len(at)}")
    return int(part)
