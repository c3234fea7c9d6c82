"""From a name or a path to an entry of a catalogue."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TypeVar

from swarm.config.catalog import ConnectorEntry, GpuEntry, Kernels, ModelEntry, Named, RooflineConstants
from swarm.config.read import read_mapping, validate
from swarm.errors import ConfigError

FOLDER = Path(__file__).parent
Entry = TypeVar("Entry", bound=Named)


@cache
def models() -> tuple[ModelEntry, ...]:
    """Return every packaged model, by name."""
    return _folder(ModelEntry, "models")


@cache
def gpus() -> tuple[GpuEntry, ...]:
    """Return every packaged GPU, by name."""
    return _folder(GpuEntry, "gpus")


@cache
def connectors() -> tuple[ConnectorEntry, ...]:
    """Return every packaged connector, by name."""
    return _folder(ConnectorEntry, "connectors")


@cache
def constants() -> RooflineConstants:
    """Return the fitted constants."""
    path = FOLDER / "constants.yaml"
    return validate(RooflineConstants, read_mapping(path), str(path))


@cache
def kernels() -> Kernels:
    """Return what kernels cost alone."""
    path = FOLDER / "kernels.yaml"
    return validate(Kernels, read_mapping(path), str(path))


def entry_files(kind: str) -> dict[str, Path]:
    """Return the file of each packaged entry of `models`, `gpus` or `connectors`, by the entry's name."""
    return {str(read_mapping(path)["name"]): path for path in sorted((FOLDER / kind).glob("*.yaml"))}


def find_model(asked: str, key: str = "fleet.cost.model") -> ModelEntry:
    """Return a model by its name, or from a user's own file; `key` is where it was asked for."""
    return _find(ModelEntry, asked, models(), key)


def find_gpu(asked: str) -> GpuEntry:
    """Return a GPU by its name, or from a user's own file."""
    return _find(GpuEntry, asked, gpus(), "fleet.replicas.gpu")


def find_connector(asked: str) -> ConnectorEntry:
    """Return a connector by its name, or from a user's own file."""
    return _find(ConnectorEntry, asked, connectors(), "fleet.tiers.connector")


def _folder(kind: type[Entry], name: str) -> tuple[Entry, ...]:
    return tuple(
        validate(kind, read_mapping(path), str(path)) for path in sorted((FOLDER / name).glob("*.yaml"))
    )


def _find(kind: type[Entry], asked: str, packaged: tuple[Entry, ...], key: str) -> Entry:
    if asked.endswith((".yaml", ".yml")):
        return validate(kind, read_mapping(Path(asked)), asked)
    wanted = asked.lower()
    for one in packaged:
        if wanted in (name.lower() for name in (one.name, *one.also)):
            return one
    names = ", ".join(entry.name for entry in packaged)
    raise ConfigError(
        f"{key}: {asked!r} is in no catalogue; there are {names}, or give a path to a YAML file"
    )
