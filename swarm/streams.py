"""Chance from streams named by (seed, purpose, owner), the same on one host or a hundred."""

from hashlib import blake2b

import numpy as np


def digest64(text: str) -> int:
    """Return a 64-bit digest of `text`, equal in every process and on every machine."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def stream(seed: int, purpose: str, owner: str) -> np.random.Generator:
    """Return the generator of one purpose and owner; building it costs about 30 us, so draw ahead."""
    return np.random.Generator(np.random.PCG64(digest64(f"{seed}\x00{purpose}\x00{owner}")))
