"""Compiled sessions on their way to every node: cut into pieces that travel through the object store.

A job's upload ends at 100 MiB, and traces are often larger; the driver reads them once, where they are.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray

from swarm.workload.source import Material, joined

if TYPE_CHECKING:
    from swarm.workload.script import SessionScript

PIECE_BYTES = 16 << 20
"""Size of a piece before it is stored; nodes fetch pieces side by side."""


def ship(material: Material) -> list[Any]:
    """Put sessions into the object store; return the references of the pieces."""
    return [ray.put(piece) for piece in pieces_of(material, PIECE_BYTES)]


def receive(pieces: Sequence[bytes]) -> Material:
    """Return the sessions again."""
    return joined(pickle.loads(piece) for piece in pieces)


def pieces_of(material: Material, bytes_max: int) -> list[bytes]:
    """Return the material in pickled pieces of about `bytes_max`, sessions in their order."""
    pieces: list[Material] = []
    group: list[SessionScript] = []
    size = 0
    for script in material.scripts:
        size += len(pickle.dumps(script))
        group.append(script)
        if size >= bytes_max:
            pieces.append(Material(scripts=tuple(group)))
            group, size = [], 0
    rest = replace(material, scripts=tuple(group))
    pieces += [rest] if rest != Material() else []
    return [pickle.dumps(piece) for piece in pieces]
