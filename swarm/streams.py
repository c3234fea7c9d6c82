"""Chance from streams named by (seed, purpose, owner), the same on one host or a hundred."""

import struct
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISpawnableSeedSequence

from swarm.seed_words import seed_words

_WORDS = struct.Struct("<8I")
_STATE = np.dtype("<u8")


def digest64(text: str) -> int:
    """Return a 64-bit digest of `text`, equal in every process and on every machine."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def stream(seed: int, purpose: str, owner: str) -> np.random.Generator:
    """Return the generator of one purpose and owner; building it costs a few us, so draw ahead."""
    named: Any = _Seed(digest64(f"{seed}\x00{purpose}\x00{owner}"))
    return np.random.Generator(np.random.PCG64(named))


class _Seed(ISpawnableSeedSequence):
    """`numpy.random.SeedSequence` of a number of at most 64 bits, at a third of the time for `PCG64`."""

    __slots__ = ("_entropy", "_sequence")

    def __init__(self, entropy: int) -> None:
        self._entropy = entropy
        self._sequence: np.random.SeedSequence | None = None
        """Asked for all that `PCG64` does not ask for; it counts its children."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """Return words of the seed's state."""
        if (n_words, dtype) != (4, np.uint64):
            return self._whole().generate_state(n_words, dtype)
        words = _WORDS.pack(*seed_words(self._entropy))
        return np.frombuffer(words, _STATE).astype(np.uint64, copy=False)

    def spawn(self, n_children: int) -> Any:
        """Return seeds that follow from this one."""
        return self._whole().spawn(n_children)

    def _whole(self) -> np.random.SeedSequence:
        if self._sequence is None:
            self._sequence = np.random.SeedSequence(self._entropy)
        return self._sequence
