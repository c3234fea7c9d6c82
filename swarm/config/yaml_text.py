"""YAML text to plain values, within bounds; what YAML lets pass in silence is refused with its line.

Knows: YAML. Does not know: what the keys mean.
"""

from __future__ import annotations

import math
from typing import Any

import yaml

from swarm.errors import ConfigError

VALUES_MAX = 1 << 20
DEPTH_MAX = 64
"""Of a text's values, one that an alias repeats counted each time."""
WRITTEN_MAX = 60_000
"""Keys and values that a text writes out: reading so many takes a second, a profile has half of them."""
MERGED_MAX = 10_000
"""Keys that merge keys (`<<`) may bring in, all of them together."""
FAULTS = (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, TypeError)
"""A date, number, truth value or key of a wrong form leaves the library as one of the last four."""
SHOWN_MAX = 120


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The library's loader, with duplicate keys refused and merges bounded."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._merged = 0
        self._written = 0
        self._looked_at: set[int] = set()
        """Mappings by identity: once flattened, one holds its own keys beside those that they override."""

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Count a key or value, before it is built: the library calls this for each that is written out."""
        self._written += 1
        if self._written > WRITTEN_MAX:
            raise ConfigError(f"has more than {WRITTEN_MAX:,} keys and values; take some out")
        super().descend_resolver(current_node, current_index)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Bring in what a merge key names; each mapping's own keys must differ."""
        if id(node) not in self._looked_at:
            self._looked_at.add(id(node))
            _check_keys(node)
        before = len(node.value)
        self._check_merges(node)
        super().flatten_mapping(node)
        self._merged += max(0, len(node.value) - before)

    def _check_merges(self, node: yaml.MappingNode) -> None:
        """Refuse more merged keys than the bound, before they are put into lists."""
        for key, value in node.value:
            if key.tag != "tag:yaml.org,2002:merge":
                continue
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for source in sources:
                if isinstance(source, yaml.MappingNode):
                    # As many keys as it has now; flattening it adds those that it merges itself.
                    self._merged += len(source.value)
            if self._merged > MERGED_MAX:
                raise ConfigError(
                    f"line {key.start_mark.line + 1}: merge keys (<<) bring in over {MERGED_MAX:,} keys; "
                    "write them out"
                )


def _check_keys(node: yaml.MappingNode) -> None:
    """Refuse a key that stands twice in one mapping."""
    own: dict[str, yaml.Node] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        first = own.setdefault(key.value, key)
        if first is not key:
            raise ConfigError(
                f"line {key.start_mark.line + 1}: the key {key.value[:SHOWN_MAX]!r} stands twice, first "
                f"in line {first.start_mark.line + 1}; keep one of them"
            )


def parse(text: str, what: str) -> Any:
    """Return the value of YAML text; `what` begins the sentence of an error.

    Raises ConfigError: not YAML, a key that stands twice, too many or too deep values, a text that is no
    Unicode, numbers that are none.
    """
    try:
        loader = _Loader(text)
        try:
            data = loader.get_single_data()
        finally:
            loader.dispose()
        count, depth = _extent(data, {})
    except ConfigError as fault:
        raise ConfigError(f"{what} {fault}") from None
    except FAULTS as fault:
        raise ConfigError(f"{what} is not YAML: {str(fault)[:300]}") from None
    if count > VALUES_MAX or depth > DEPTH_MAX:
        raise ConfigError(
            f"{what} has more than {VALUES_MAX:,} values, or more than {DEPTH_MAX} in one another, with what "
            "aliases repeat; take them out"
        )
    fault_at = _unfit(data, "")
    if fault_at is not None:
        raise ConfigError(f"{what} {fault_at}")
    return data


def _extent(data: Any, known: dict[int, tuple[float, float]]) -> tuple[float, float]:
    """Return how many values there are in one, and how deep; both are infinite where it holds itself."""
    if not isinstance(data, dict | list | tuple | set):
        return 1, 0
    if id(data) not in known:
        known[id(data)] = math.inf, math.inf
        inside = data.values() if isinstance(data, dict) else data
        extents = [_extent(each, known) for each in inside]
        known[id(data)] = 1 + sum(count for count, _ in extents), 1 + max((d for _, d in extents), default=0)
    return known[id(data)]


def _unfit(data: Any, key: str) -> str | None:
    """Return what no key can hold, with its place: NaN, bytes, half a surrogate pair; None where all can."""
    if isinstance(data, float) and math.isnan(data):
        return f"{key or 'the value'}: found NaN; a number is expected"
    if isinstance(data, bytes):
        return f"{key or 'the value'}: found binary data; write it as text"
    if isinstance(data, str):
        try:
            data.encode()
        except UnicodeEncodeError as fault:
            return f"{key or 'the value'}: character {fault.start + 1} is half of a surrogate pair"
        return None
    if isinstance(data, dict):
        parts = [(f"{key}.{name}" if key else str(name), value) for name, value in data.items()]
        broken = next((found for name in data if (found := _unfit(name, "a key")) is not None), None)
        if broken is not None:
            return broken
    elif isinstance(data, list | tuple):
        parts = [(f"{key}.{place}" if key else str(place), value) for place, value in enumerate(data)]
    else:
        return None
    return next((found for name, value in parts if (found := _unfit(value, name)) is not None), None)
