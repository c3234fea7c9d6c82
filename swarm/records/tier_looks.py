"""The memories of a fleet over time: what each tier held, and what it had moved, at each look.

An emulated fleet is looked at in virtual time; one behind HTTP publishes the same as counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa

LOOKS_MAX = 4_096
"""Looks that are kept; beyond, every other one is dropped, and they are taken half as often."""
CAPACITY_BYTES_MAX = 2**63 - 1
"""The most that a column of whole numbers holds; a larger capacity is written as this."""
MOVED = ("read_bytes", "written_bytes", "dropped_bytes")
SCHEMA = pa.schema(
    [
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("capacity_bytes", pa.int64()),
        pa.field("held_bytes", pa.int64(), nullable=False),
        pa.field("used_bytes", pa.int64(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in MOVED),
    ]
)


@dataclass(frozen=True, slots=True)
class TierState:
    """One tier, all its instances together, at a moment."""

    tier: str
    capacity_bytes: int | None
    """None: no limit."""
    held_bytes: int
    """By blocks that can be hit, and as room of open requests."""
    used_bytes: int
    """By open requests: blocks that they hit or write, and their room."""
    read_bytes: int
    """Since the start, as are the two below."""
    written_bytes: int
    dropped_bytes: int


@dataclass(frozen=True, slots=True)
class TierLook:
    """All tiers at a moment on the run's clock."""

    at_s: float
    tiers: tuple[TierState, ...]


def thinned(looks: Sequence[TierLook]) -> list[TierLook]:
    """Return every other look, the newest among them."""
    return [*reversed(looks[::-1][::2])]


def looks_table(looks: Iterable[TierLook]) -> pa.Table:
    """Return one row for each tier and each stretch between two looks.

    `held_bytes` and `used_bytes` are those at its end, `MOVED` what was moved in it; of a fleet that was
    started anew in it, what is known.
    """
    rows: list[dict[str, Any]] = []
    for before, after in pairwise(looks):
        if after.at_s <= before.at_s:
            continue
        earlier = {state.tier: state for state in before.tiers}
        for state in after.tiers:
            capacity_bytes = state.capacity_bytes
            known = earlier.get(state.tier)
            is_anew = known is None or any(getattr(known, name) > getattr(state, name) for name in MOVED)
            moved = {
                name: getattr(state, name) - (0 if is_anew or known is None else getattr(known, name))
                for name in MOVED
            }
            rows.append(
                {
                    "start_s": before.at_s,
                    "end_s": after.at_s,
                    "tier": state.tier,
                    "capacity_bytes": None
                    if capacity_bytes is None
                    else min(capacity_bytes, CAPACITY_BYTES_MAX),
                    "held_bytes": state.held_bytes,
                    "used_bytes": state.used_bytes,
                    **moved,
                }
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)
