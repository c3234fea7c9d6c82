"""YAML files and `--set` to frozen models, with errors that name the key, the value and what is allowed."""

from __future__ import annotations

import copy
import itertools
import math
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.config.meant import known_instead
from swarm.config.prices import PricesConfig
from swarm.config.profile import ProfileFile
from swarm.config.strict import Strict
from swarm.config.sweep import POINTS_MAX, SweepConfig
from swarm.config.target import TargetConfig
from swarm.config.yaml_text import DEPTH_MAX, parse
from swarm.errors import ConfigError

M = TypeVar("M", bound=Strict)
FILE_BYTES_MAX = 1024 * 1024
PROFILE_BYTES_MAX = 512 * 1024
"""The longest tables that a profile may have take less, with all digits of a double."""
SHOWN_MAX = 120
"""Characters of a value in an error."""
WIDTH_SHOWN = 128
"""Bits of a whole number that is shown in digits."""
FAULTS_SHOWN = 20
"""Of one file."""
SAID = {
    "model_type": "a mapping of keys is expected",
    "model_attributes_type": "a mapping of keys is expected",
    "dict_type": "a mapping of keys is expected",
    "tuple_type": "a list is expected",
    "list_type": "a list is expected",
    "float_parsing": "a number is expected",
    "float_type": "a number is expected",
    "int_parsing": "a whole number is expected",
    "int_type": "a whole number is expected",
    "int_from_float": "a whole number is expected",
    "bool_parsing": "true or false is expected",
    "bool_type": "true or false is expected",
    "string_type": "a text is expected",
}
"""Kinds of faults whose own message speaks of Python."""
NAMES_A_KEY = re.compile(r"[a-z_][\w.\[\]]*: ")
"""How a message begins that is of a key below the one at fault."""


def read_experiment(path: Path, overrides: list[str], *, seed: int | None = None) -> Experiment:
    """Return the experiment of a file with `KEY=VALUE` overrides; a fleet's file is read in place."""
    return validate(Experiment, _experiment_data(path, overrides, seed), str(path))


def experiment_of(
    data: Mapping[str, Any], overrides: Sequence[str], *, seed: int | None = None
) -> Experiment:
    """Return the experiment of a mapping, as a file would hold it, in the working directory."""
    whole = _changed(copy.deepcopy(dict(data)), Path(), overrides, seed)
    return validate(Experiment, whole, "the experiment")


def target_of(data: Mapping[str, Any], overrides: Sequence[str], where: str) -> TargetConfig:
    """Return the target of a command line: what it states, None left out, with its `target.KEY=VALUE`.

    Raises:
        ConfigError: A key or a value is wrong, or none of a target.
    """
    stated = {name: value for name, value in data.items() if value is not None}
    whole = _changed({"target": stated}, Path(), overrides, None)
    other = next((key for key in whole if key != "target"), None)
    if other is not None:
        raise ConfigError(f"{where}: --set {other}: a target alone is asked for here: write target.KEY=VALUE")
    return validate(TargetConfig, whole["target"], where)


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a sweep: its changes to the experiment, by key, and the experiment that results."""

    changes: dict[str, Any]
    labels: dict[str, str]
    experiment: Experiment


class Choice(NamedTuple):
    """One value of one key of a grid, by its place among them."""

    key: str
    at: int
    value: Any


def read_points(path: Path, overrides: list[str], *, seed: int | None = None) -> list[Point]:
    """Return the points of an experiment's sweep in the order of its grid, or none where it has no sweep."""
    data = _experiment_data(path, overrides, seed)
    sweep = validate(Experiment, data, str(path)).sweep
    if sweep is None:
        return []
    del data["sweep"]
    keys = [*sweep.grid.items(), ("seed", sweep.seeds or (data.get("seed", 1),))]
    choices = [[Choice(key, at, value) for at, value in enumerate(values)] for key, values in keys]
    count = math.prod(len(each) for each in choices)
    if count > POINTS_MAX:
        raise ConfigError(f"{path}: sweep: {count} points, more than {POINTS_MAX}; take values off the grid")
    points = []
    made: dict[str, tuple[Choice, ...]] = {}
    for chosen in itertools.product(*choices):
        points.append(_point(data, sweep, chosen, str(path)))
        twin = made.setdefault(points[-1].experiment.model_dump_json(), chosen)
        if twin is not chosen:
            raise ConfigError(
                f"{path}: sweep: {_alike(twin, chosen)} make the same run; take one of them off"
            )
    return points


def _point(data: dict[str, Any], sweep: SweepConfig, chosen: tuple[Choice, ...], path: str) -> Point:
    *pairs, seed = chosen
    tied = {other: values[at] for key, at, _ in pairs for other, values in sweep.tied.get(key, {}).items()}
    changed = copy.deepcopy(data)
    changed["seed"] = seed.value
    for key, _, value in pairs:
        _assign(changed, key, copy.deepcopy(value))
    for key, value in tied.items():
        _assign(changed, key, copy.deepcopy(value))
    labels = {key: _label(sweep, key, at, value) for key, at, value in pairs}
    where = f"{path}: sweep at " + ", ".join(f"{key}={_cut(label)}" for key, label in labels.items())
    changes = {key: value for key, _, value in chosen} | tied
    return Point(changes, labels, validate(Experiment, changed, where))


def _alike(one: tuple[Choice, ...], other: tuple[Choice, ...]) -> str:
    """Return the choices by which two points differ in the file."""
    pairs = [pair for pair in zip(one, other, strict=True) if pair[0] is not pair[1]]
    sides = (
        ", ".join(f"{c.key}={str(c.value)[:SHOWN_MAX]}" for c in side) for side in zip(*pairs, strict=True)
    )
    return " and ".join(sides)


def _label(sweep: SweepConfig, key: str, at: int, value: Any) -> str:
    names = sweep.labels.get(key, ())
    return names[at] if at < len(names) else str(value)


def _experiment_data(path: Path, overrides: list[str], seed: int | None) -> dict[str, Any]:
    return _changed(read_mapping(path), path.parent, overrides, seed)


def _changed(
    data: dict[str, Any], folder: Path, overrides: Sequence[str], seed: int | None
) -> dict[str, Any]:
    _read_fleet_in(data, folder)
    _resolve_paths(data, folder)
    for override in overrides:
        _set(data, override)
        # At once: the next override may change a key of the fleet's file.
        _read_fleet_in(data, Path())
    if seed is not None:
        data["seed"] = seed
    return data


def read_fleet(path: Path, overrides: list[str]) -> FleetConfig:
    """Return the fleet of a file; an experiment's file serves too, by its `fleet`."""
    data = read_mapping(path)
    if "workload" in data:
        return read_experiment(path, overrides).fleet
    _resolve_tokenizer(data.get("serving"), path.parent)
    for override in overrides:
        _set(data, override)
    return validate(FleetConfig, data, str(path))


def read_profile(path: Path) -> ProfileFile:
    """Return the profile of a workload."""
    return validate(ProfileFile, read_mapping(path, "a profile", bytes_max=PROFILE_BYTES_MAX), str(path))


def read_prices(path: Path) -> PricesConfig:
    """Return the price list of a file."""
    return validate(PricesConfig, read_mapping(path), str(path))


def validate(model: type[M], data: Any, where: str) -> M:
    """Return the model, or raise ConfigError with every fault: key, what was found, what is allowed."""
    wide = _wide_integer(data)
    if wide is not None:
        raise ConfigError(f"{where}: {wide}: whole numbers have 64 bits at most")
    try:
        return model.model_validate(data)
    except ValidationError as fault:
        errors = fault.errors()
        # A tuple whose item is at fault is reported as too short as well.
        at_fault = [error["loc"] for error in errors if error["type"] != "too_short"]
        errors = [
            error
            for error in errors
            if error["type"] != "too_short"
            or not any(loc[: len(error["loc"])] == error["loc"] for loc in at_fault)
        ]
        lines = [_explain(error, data, model) for error in errors[:FAULTS_SHOWN]]
        more = len(errors) - len(lines)
        lines += [f"  and {more:,} more"] if more else []
        raise ConfigError(f"{where}: {len(errors):,} fault(s)\n" + "\n".join(lines)) from None


def _wide_integer(data: Any, key: str = "") -> str | None:
    """Return the key of a whole number that does not fit 64 bits, and the number; None where all do."""
    if isinstance(data, dict):
        parts = [(f"{key}.{name}" if key else str(name), value) for name, value in data.items()]
    elif isinstance(data, list | tuple):
        parts = [(f"{key}.{place}", value) for place, value in enumerate(data)]
    elif isinstance(data, int) and not -(2**63) <= data < 2**63:
        # Python writes no number of over 4,300 digits out.
        shown = str(data) if data.bit_length() <= WIDTH_SHOWN else f"one of {data.bit_length():,} bits"
        return f"{_cut(key)}: found {shown}"
    else:
        return None
    return next((found for name, value in parts if (found := _wide_integer(value, name)) is not None), None)


def _explain(error: Any, data: Any, model: type[Strict]) -> str:
    """Return a fault as a line: the key, what was found, what is allowed."""
    key, kind, context = _cut(_key(error["loc"], data)), error["type"], error.get("ctx", {})
    if kind.startswith("union_tag"):
        key = f"{key}.{context['discriminator'].strip(chr(39))}"
    if kind == "extra_forbidden":
        return f"  {key}: unknown key; {known_instead(error['loc'], model)}"
    if kind in ("missing", "union_tag_not_found"):
        return f"  {key}: required, not found"
    if kind == "union_tag_invalid":
        return f"  {key}: found {_shown(context['tag'])}; must be one of {context['expected_tags']}"
    found = error.get("input")
    message = SAID.get(kind) or _said(error["msg"])
    if kind == "value_error" and isinstance(found, dict | list | tuple | Strict):
        # Its message names the keys below; the whole of them would hide it.
        joint = "" if not key else "." if NAMES_A_KEY.match(message) else ": "
        return f"  {key}{joint}{message}"
    return f"  {key or '(the file)'}: found {_shown(found)}; {message}"


def _key(loc: tuple[int | str, ...], data: Any) -> str:
    """Return the key of a fault as the file has it: without the kinds that were chosen on the way."""
    parts = []
    for part in loc:
        if isinstance(data, dict) and part not in data and data.get("kind") == part:
            continue
        parts.append(str(part))
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            data = None
    return ".".join(parts)


def _said(message: str) -> str:
    """Return a message of the validating library as the rest of a sentence."""
    text = message.removeprefix("Value error, ")
    if text.startswith("Input should be "):
        return f"must be {text.removeprefix('Input should be ')}"
    return f"{text[0].lower()}{text[1:]}" if text is message else text


def _shown(found: Any) -> str:
    if isinstance(found, dict | Strict):
        return "a mapping"
    if isinstance(found, list | tuple):
        return f"a list of {len(found)}"
    return _cut(repr(found))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def read_mapping(
    path: Path, what: str = "an experiment", *, bytes_max: int = FILE_BYTES_MAX
) -> dict[str, Any]:
    """Return the mapping that a YAML file holds."""
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            # It may have no writer, and a sweep's file is read again.
            raise ConfigError(f"{path}: is a pipe, which can be read once; write {what} into a file")
        # The size of what is no plain file is not known before.
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
        if len(content) > bytes_max:
            raise ConfigError(f"{path}: has more than {bytes_max:,} bytes; is it {what}?")
        text = content.decode()
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: is not YAML: {str(fault)[:300]}") from None
    data = parse(text, f"{path}:")
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
        found = read_mapping(folder / fleet)
        _resolve_tokenizer(found.get("serving"), (folder / fleet).parent)
        data["fleet"] = {**found, **changes}


def _resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Paths inside a file are relative to the file."""
    workload = data.get("workload")
    if isinstance(workload, dict) and workload.get("kind") == "program":
        workload.setdefault("path", "")
    if isinstance(workload, dict) and isinstance(workload.get("path"), str) and "://" not in workload["path"]:
        workload["path"] = str(folder / workload["path"])
    fleet = data.get("fleet")
    _resolve_tokenizer(data.get("target"), folder)
    _resolve_tokenizer(fleet.get("serving") if isinstance(fleet, dict) else None, folder)


def _resolve_tokenizer(part: Any, folder: Path) -> None:
    if isinstance(part, dict) and isinstance(part.get("tokenizer"), str):
        part["tokenizer"] = str(folder / part["tokenizer"])


def _set(data: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise ConfigError(f"--set {override}: KEY=VALUE is expected, as in --set load.agents=20")
    _assign(data, key, parse(text, f"--set {override[:SHOWN_MAX]}: the value"))


def _assign(data: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; a part that is a number is an index where it meets a list."""
    at: Any = data
    parts = key.split(".")
    if len(parts) > DEPTH_MAX:
        raise ConfigError(f"--set {key[:SHOWN_MAX]}: a key has {DEPTH_MAX} parts at most, got {len(parts)}")
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
    if not (part.isascii() and part.isdigit() and len(part) < 10) or int(part) >= len(at):
        raise ConfigError(f"--set {key}: {part!r} is not an index of a list of {len(at)}")
    return int(part)
