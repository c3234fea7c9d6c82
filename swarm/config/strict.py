"""The one base of all configuration: frozen, unknown keys refused, nothing coerced in silence."""

from __future__ import annotations

import math
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, model_validator

BOUNDS = {"_per_s": 1e18, "_s": 1e10, "_tokens": 2.0**48, "_bytes": 2.0**60, "_gib": 2.0**40}
"""The most that a number may be, by the unit that ends its key's name; the first that fits counts.

10^10 s are 317 years, and microseconds of them are exact in 64 bits."""


class Strict(BaseModel):
    """A frozen model that refuses keys it does not know, truth values for numbers, and endless quantities."""

    # Deferred: a process that is handed a configuration, and reads none, never builds a validator.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, data: Any) -> Any:
        """Refuse `agents: yes`, which YAML reads as true and Python counts as 1."""
        if not isinstance(data, dict):
            return data
        for name, value in data.items():
            field = cls.model_fields.get(name) if isinstance(name, str) else None
            if field is None or not _holds_truth(value) or _may_be_true(field.annotation):
                continue
            raise ValueError(f"{name}: found {value!r}; YAML reads yes, no, on and off as true and false")
        return data

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        for name in self.model_fields_set:
            most = bound_of(name)
            value = getattr(self, name)
            if most is not None and (found := _beyond(value, most)) is not None:
                raise ValueError(f"{name}: found {found:g}; at most {most:g} is expected")
        return self


def bound_of(name: str) -> float | None:
    """Return the most that a key's number may be; None where its name has no unit."""
    return next((most for unit, most in BOUNDS.items() if name.endswith(unit)), None)


def _beyond(value: Any, most: float) -> float | None:
    """Return a number beyond the bound, of a value or within it."""
    if isinstance(value, int | float):
        return value if value > most and not math.isinf(value) else None
    if isinstance(value, tuple | list):
        return next((found for each in value if (found := _beyond(each, most)) is not None), None)
    return None


def _holds_truth(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_holds_truth, value)))


def _may_be_true(annotation: Any) -> bool:
    """Return whether a field's type names truth values, or anything, at any depth."""
    if annotation is bool or annotation is Any:
        return True
    return any(_may_be_true(part) for part in get_args(annotation)) or (
        isinstance(annotation, type) and issubclass(annotation, BaseModel)
    )
