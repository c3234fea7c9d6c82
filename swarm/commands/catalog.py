"""`swarm catalog`: names that are known, and an entry to copy."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import get_args

from swarm.config.catalog import ConnectorEntry, GpuEntry, ModelEntry
from swarm.config.fleet import ROUTER_KEYS, FleetConfig, RouterName, TierConfig
from swarm.config.strict import Strict
from swarm.errors import UsageError
from swarm.fleet.catalog.read import connectors, entry_files, gpus, models
from swarm.units import GIB
from swarm.workload.formats import FORMATS
from swarm.workload.formats.agent_logs.readers import PARSERS

POLICIES = {
    "lru": "Least recent use first, deepest first within a use.",
    "fifo": "First written first, whatever was read since; of tiers below HBM.",
    "watermark": "Batches over a high watermark, and leases, as Mooncake's store; of tiers below HBM.",
}
ROUTERS = {
    "round_robin": "One rank after the other.",
    "least_loaded": "The rank with the fewest requests, waiting or running; among equals, the first.",
    "session_affine": "Always the same rank for a session, whatever its load.",
    "prefix_aware": "The rank that would answer first: what its hit and its miss cost, against its load.",
    "scored": "The highest weighted sum of scores: prefix sent there, free KV, short queue, few requests.",
    "sticky": "Of the ranks sent most of the prompt, unless far behind, the fewest tokens to compute.",
}
KINDS = ("models", "gpus", "connectors", "routers", "policies", "formats")


def catalog(kind: str | None, name: str | None) -> int:
    """Print the kinds, the names of a kind, or one entry, also by another name of it; return the exit code.

    Raises:
        UsageError: There is no such kind, or no such name.
    """
    if kind is None:
        print("\n".join(f"swarm catalog {each}" for each in KINDS))
        return 0
    if kind not in KINDS:
        raise UsageError(f"swarm catalog {kind}: {_meant(kind, KINDS)}")
    known = _ABOUT[kind]()
    if name is None:
        width = max(map(len, known))
        for each, about in known.items():
            print(f"{each:<{width}}  {about}")
        return 0
    name = _names(kind, known).get(name.lower(), name)
    if name not in known:
        raise UsageError(f"swarm catalog {kind} {name}: {_meant(name, tuple(known))}")
    print(_entry(kind, name, known[name]))
    return 0


def _names(kind: str, known: Iterable[str]) -> dict[str, str]:
    """Return the name of an entry by all that it is called, in small letters."""
    entries: Mapping[str, Callable[[], Iterable[ModelEntry | GpuEntry | ConnectorEntry]]] = {
        "models": models,
        "gpus": gpus,
        "connectors": connectors,
    }
    also = {} if kind not in entries else {other: one.name for one in entries[kind]() for other in one.also}
    return {each.lower(): name for each, name in {**also, **{name: name for name in known}}.items()}


def _meant(name: str, known: tuple[str, ...]) -> str:
    by_case = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), list(by_case), n=1)
    if close:
        return f"not known; did you mean {by_case[close[0]]!r}?"
    return f"not known; there are {', '.join(known)}"


def _entry(kind: str, name: str, about: str) -> str:
    """Return what to copy."""
    match kind:
        case "models" | "gpus" | "connectors":
            return entry_files(kind)[name].read_text(encoding="utf-8").rstrip()
        case "routers":
            return "\n".join([f"# {about}", "fleet:", f"  router: {name}", *_router_keys(name)])
        case "policies":
            tier = "name: hbm" if name == "lru" else "name: dram, capacity_gib: 64"
            return f"# {about}\nfleet:\n  tiers:\n    - {{{tier}, eviction: {name}}}"
        case _:
            return f"# {about}\nworkload:\n  kind: replay\n  path: TRACES\n  format: {name}"


def _router_keys(name: str) -> list[str]:
    """Return the lines of the keys that belong to a router alone, at their defaults."""
    key = ROUTER_KEYS.get(name)
    if key is None:
        return []
    value = FleetConfig.model_fields[key].get_default(call_default_factory=True)
    if not isinstance(value, Strict):
        return [f"  {key}: {value}"]
    stated = value.model_dump().items()
    return [f"  {key}:", *(f"    {each}: {'null' if of is None else of}" for each, of in stated)]


def _models() -> dict[str, str]:
    return {entry.name: f"context {entry.context_tokens:,} tokens" + _also(entry.also) for entry in models()}


def _gpus() -> dict[str, str]:
    return {entry.name: f"{entry.memory_bytes.value / GIB:.0f} GiB" + _also(entry.also) for entry in gpus()}


def _connectors() -> dict[str, str]:
    return {entry.name: entry.about + _also(entry.also) for entry in connectors()}


def _routers() -> dict[str, str]:
    return {name: ROUTERS[name] for name in get_args(RouterName)}


def _policies() -> dict[str, str]:
    return {name: POLICIES[name] for name in get_args(TierConfig.model_fields["eviction"].annotation)}


def _formats() -> dict[str, str]:
    written = {name: "read" if made.write is None else "read and written" for name, made in FORMATS.items()}
    about = {
        name: f"{_first_sentence(inspect.getmodule(made.read))} ({written[name]})"
        for name, made in FORMATS.items()
    }
    logs = {name: f"{_first_sentence(inspect.getmodule(parse))} (read)" for name, parse in PARSERS.items()}
    return {**about, **logs}


def _also(names: tuple[str, ...]) -> str:
    return f"; also called {', '.join(names)}" if names else ""


def _first_sentence(thing: object) -> str:
    text = inspect.getdoc(thing) or ""
    return text.partition("\n")[0]


_ABOUT: Mapping[str, Callable[[], dict[str, str]]] = {
    "models": _models,
    "gpus": _gpus,
    "connectors": _connectors,
    "routers": _routers,
    "policies": _policies,
    "formats": _formats,
}
