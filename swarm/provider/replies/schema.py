"""Values that fit a JSON schema, drawn by chance.

What a schema says directly is built: types, properties, items, bounds, choices, references. What it says of
a whole value (`not`, `if`, `contains`, ...) is left to a validator, which refuses what does not fit; then
another value is drawn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, _WrappedReferencingError

from swarm.provider.replies.pattern import PatternError, fitting
from swarm.provider.replies.prose import VOCABULARY

Json: TypeAlias = dict[str, Any]
Chance: TypeAlias = np.random.Generator
DRAWS_MAX = 12
DEPTH_FULL = 5
"""Deeper than this, what need not be there is left out."""
DEPTH_MAX = 60
ITEMS_MAX = 3
"""Of a list that says nothing of its length."""
ITEMS_LEAST_MAX = 10_000
CHARACTERS_LEAST_MAX = 100_000
REAL_SPAN = 1000.0


class SchemaFault(Exception):
    """A schema that is none, or that no drawn value fits."""


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Draft202012Validator:
    parsed = orjson.loads(schema)
    try:
        Draft202012Validator.check_schema(parsed)
    except SchemaError as error:
        raise SchemaFault(f"not a JSON schema: {error.message}"[:300]) from None
    except RecursionError:
        raise SchemaFault("not a JSON schema: nested too deeply") from None
    return Draft202012Validator(parsed)


def check(schema: Json) -> None:
    """Raise `SchemaFault` where a schema is none."""
    _validator(_dumps(schema))


def value_for(schema: Json, chance: Chance) -> Any:
    """Return a value that fits; raises `SchemaFault`."""
    validator = _validator(_dumps(schema))
    why = "its parts contradict each other"
    for _ in range(DRAWS_MAX):
        try:
            value = _Draw(schema, chance).value(schema, 0)
            if validator.is_valid(value):
                return value
        except (SchemaFault, PatternError) as error:
            why = str(error)
        except (RecursionError, _WrappedReferencingError, re.error, ValueError, OverflowError) as error:
            why = f"{type(error).__name__}: {error}"[:200]
        except TypeError:
            why = "a member has a value of the wrong kind"
    raise SchemaFault(f"no value could be made that fits the schema: {why}")


def _dumps(schema: Json) -> bytes:
    try:
        return orjson.dumps(schema)
    except orjson.JSONEncodeError as error:
        raise SchemaFault(f"not a JSON schema: {error}") from None


class _Draw:
    """One value of one schema."""

    def __init__(self, root: Json, chance: Chance) -> None:
        self._root = root
        self._chance = chance

    def value(self, schema: Any, depth: int) -> Any:
        """Return a value for a schema within the root's."""
        if depth > DEPTH_MAX:
            raise SchemaFault(f"nested over {DEPTH_MAX} deep")
        if schema is False:
            raise SchemaFault("a part of it allows no value")
        schema = self._flat({} if schema is True else schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._one(schema["enum"])
        return _KINDS[self._kind(schema)](self, schema, depth)

    def _flat(self, schema: Json, depth: int) -> Json:
        """Return a schema with its references, and a choice of its alternatives, merged into it."""
        for _ in range(DEPTH_MAX):
            if "$ref" in schema:
                schema = _merged(
                    {key: schema[key] for key in schema if key != "$ref"}, self._find(schema["$ref"])
                )
            elif "allOf" in schema:
                parts, schema = schema["allOf"], {key: schema[key] for key in schema if key != "allOf"}
                for part in parts:
                    schema = _merged(schema, part)
            elif "anyOf" in schema or "oneOf" in schema:
                name = "anyOf" if "anyOf" in schema else "oneOf"
                branches = [each for each in schema[name] if each is not False]
                rest = {key: schema[key] for key in schema if key != name}
                schema = _merged(rest, self._branch(branches, depth))
            else:
                return schema
        raise SchemaFault(f"over {DEPTH_MAX} references in a row")

    def _branch(self, branches: list[Any], depth: int) -> Any:
        """Return one of several alternatives; deep down, one that goes no deeper."""
        if depth < DEPTH_FULL:
            return self._one(branches)
        plain = [each for each in branches if isinstance(each, dict) and _is_plain(each)]
        return self._one(plain or branches)

    def _find(self, reference: str) -> Any:
        if reference == "#":
            return self._root
        if not reference.startswith("#/"):
            raise SchemaFault(f"$ref {reference[:100]!r} leads out of the schema")
        at: Any = self._root
        for step in reference[2:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            try:
                at = at[int(step)] if isinstance(at, list) else at[step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise SchemaFault(f"$ref {reference[:100]!r} leads nowhere") from None
        return at

    def _kind(self, schema: Json) -> str:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            solid = [kind for kind in kinds if kind != "null"]
            return str(self._one(solid or kinds))
        if kinds is not None:
            return str(kinds)
        for kind, names in _TELLTALES.items():
            if any(name in schema for name in names):
                return kind
        return "string"

    def _object(self, schema: Json, depth: int) -> Json:
        known = schema.get("properties") or {}
        required = list(schema.get("required") or ())
        least = schema.get("minProperties", 0)
        names = [name for name in known if name in required or self._is_given(depth)]
        names += [name for name in required if name not in known]
        most = schema.get("maxProperties", math.inf)
        spare = [name for name in known if name not in names]
        while len(names) < least and spare:
            names.append(spare.pop(0))
        while len(names) > most and any(name not in required for name in names):
            names.remove(next(name for name in reversed(names) if name not in required))
        found = {name: self.value(known.get(name, self._other(schema, name)), depth + 1) for name in names}
        while len(found) < least:
            found[f"key{len(found)}"] = self.value(self._other(schema, f"key{len(found)}"), depth + 1)
        return found

    def _other(self, schema: Json, name: str) -> Any:
        """Return the schema of a property that has none of its own."""
        for pattern, part in (schema.get("patternProperties") or {}).items():
            if re.search(pattern, name):
                return part
        return schema.get("additionalProperties", True)

    def _is_given(self, depth: int) -> bool:
        return depth < DEPTH_FULL and self._chance.random() < 0.5

    def _array(self, schema: Json, depth: int) -> list[Any]:
        first = schema.get("prefixItems") or []
        least = schema.get("minItems", 1 if depth < DEPTH_FULL else 0)
        if least > ITEMS_LEAST_MAX:
            raise SchemaFault(f"minItems is over {ITEMS_LEAST_MAX}")
        most = min(schema.get("maxItems", math.inf), max(least, ITEMS_MAX, len(first)))
        least = min(least, most)
        items = schema.get("items", True)
        if items is False:
            least, most = min(least, len(first)), min(most, len(first))
        count = int(self._chance.integers(least, most + 1)) if depth < DEPTH_FULL else least
        found: list[Any] = []
        for at in range(count):
            part = first[at] if at < len(first) else items
            for _ in range(DRAWS_MAX):
                one = self.value(part, depth + 1)
                if not schema.get("uniqueItems") or one not in found:
                    found.append(one)
                    break
        return found

    def _string(self, schema: Json, depth: int) -> str:
        if isinstance(schema.get("pattern"), str):
            return fitting(schema["pattern"], self._chance)
        form = _FORMATS.get(schema.get("format", ""))
        if form is not None:
            return form(self._chance)
        least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
        if least > CHARACTERS_LEAST_MAX:
            raise SchemaFault(f"minLength is over {CHARACTERS_LEAST_MAX}")
        words = [VOCABULARY[self._chance.integers(len(VOCABULARY))].decode().strip() for _ in range(2)]
        text = " ".join(words)
        while len(text) < least:
            text += " " + words[0]
        return text[: int(most)] if most < len(text) else text

    def _integer(self, schema: Json, depth: int) -> int:
        step = schema.get("multipleOf", 1)
        step = int(step) if float(step).is_integer() and step else 1
        low, high = _bounds(schema, 1)
        least, most = math.ceil(low / step), math.floor(high / step)
        if least > most:
            raise SchemaFault("no whole number lies within its bounds")
        return (least + int(self._chance.random() * min(most - least + 1, 1000))) * step

    def _number(self, schema: Json, depth: int) -> float:
        step = schema.get("multipleOf")
        if step:
            low, high = _bounds(schema, step)
            steps = math.ceil(low / step) + int(self._chance.random() * max(1, (high - low) // step))
            return float(steps * step)
        low, high = _bounds(schema, 0)
        value = round(low + (high - low) * (0.25 + self._chance.random() / 2), 2)
        return value if low <= value <= high else (low + high) / 2

    def _boolean(self, schema: Json, depth: int) -> bool:
        return bool(self._chance.random() < 0.5)

    def _null(self, schema: Json, depth: int) -> None:
        return None

    def _one(self, values: list[Any]) -> Any:
        if not values:
            raise SchemaFault("an empty choice")
        return values[int(self._chance.integers(len(values)))]


def _merged(one: Json, other: Any) -> Json:
    """Return a schema that asks for what both ask for."""
    if other is True:
        return one
    if not isinstance(other, dict):
        raise SchemaFault("a part of it is no schema")
    both = {**other, **one}
    for name in ("properties", "patternProperties", "$defs"):
        if name in one and name in other:
            both[name] = {**other[name], **one[name]}
    if "required" in one and "required" in other:
        both["required"] = list(dict.fromkeys([*other["required"], *one["required"]]))
    if "allOf" in one and "allOf" in other:
        both["allOf"] = [*one["allOf"], *other["allOf"]]
    return both


def _is_plain(schema: Json) -> bool:
    return not any(name in schema for name in ("$ref", "properties", "items", "allOf", "anyOf", "oneOf"))


def _bounds(schema: Json, step: float) -> tuple[float, float]:
    """Return the least and the most that a number may be; where it says neither, small ones."""
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    span = max(REAL_SPAN, 10 * step)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    edge = step or 1e-6
    if isinstance(above, int | float):
        low = max(low, above + edge)
    if isinstance(below, int | float):
        high = min(high, below - edge)
    if low == -math.inf:
        low = min(0.0, high - span) if high < math.inf else 0.0
    if high == math.inf:
        high = low + span
    if low > high:
        raise SchemaFault("no number lies within its bounds")
    return low, high


def _digits(chance: Chance, count: int) -> str:
    return "".join(str(digit) for digit in chance.integers(0, 10, count))


def _hex(chance: Chance, count: int) -> str:
    return chance.bytes(count).hex()[:count]


_KINDS: dict[str, Callable[[_Draw, Json, int], Any]] = {
    "object": _Draw._object,
    "array": _Draw._array,
    "string": _Draw._string,
    "integer": _Draw._integer,
    "number": _Draw._number,
    "boolean": _Draw._boolean,
    "null": _Draw._null,
}
_TELLTALES = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
"""What only makes sense for a type, where a schema names none."""
_FORMATS: dict[str, Callable[[Chance], str]] = {
    "date": lambda chance: f"20{_digits(chance, 2)}-0{1 + chance.integers(9)}-1{_digits(chance, 1)}",
    "time": lambda chance: f"1{_digits(chance, 1)}:3{_digits(chance, 1)}:00Z",
    "date-time": lambda chance: (
        f"20{_digits(chance, 2)}-0{1 + chance.integers(9)}-1{_digits(chance, 1)}T12:00:00Z"
    ),
    "duration": lambda chance: f"PT{1 + chance.integers(59)}M",
    "email": lambda chance: f"user{_digits(chance, 3)}@example.com",
    "hostname": lambda chance: f"host{_digits(chance, 3)}.example.com",
    "ipv4": lambda chance: f"192.0.2.{chance.integers(256)}",
    "ipv6": lambda chance: f"2001:db8::{_hex(chance, 4)}",
    "uri": lambda chance: f"https://example.com/{_digits(chance, 4)}",
    "url": lambda chance: f"https://example.com/{_digits(chance, 4)}",
    "uuid": lambda chance: (
        f"{_hex(chance, 8)}-{_hex(chance, 4)}-4{_hex(chance, 3)}-8{_hex(chance, 3)}-{_hex(chance, 12)}"
    ),
}
