"""Compiled sessions on their way to every node: cut into pieces that travel through the object store.

A job's upload ends at 100 MiB, and traces are often larger; the driver reads them once, where they are.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import ray

from swarm.workload.source import Material, Part

PIECE_BYTES = 16 << 20
"""Size of a piece before it is stored; nodes fetch pieces side by side."""


def ship(scripts: Material) -> list[Any]:
    """Put sessions into the object store; return the references of the pieces."""
    return [ray.put(piece) for piece in pieces_of(scripts, PIECE_BYTES)]


def receive(pieces: Sequence[bytes]) -> Material:
    """Return the sessions again."""
    return tuple(script for piece in pieces for script in pickle.loads(piece))


def pieces_of(scripts: Material, bytes_max: int) -> list[bytes]:
    """Return sessions in pickled groups of about `bytes_max`, in their order."""
    pieces: list[bytes] = []
    group: list[Part] = []
    size = 0
    for script in scripts:
        size += len(pickle.dumps(script))
        group.append(script)
        if size >= bytes_max:
            pieces.append(pickle.dumps(tuple(group)))
            group, size = [], 0
    if group:
        pieces.append(pickle.dumps(tuple(group)))
    return pieces
