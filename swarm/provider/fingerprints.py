"""Prompts as the fingerprints of their blocks: 8 bytes stand for a block's tokens.

The emulated tokenizer: a token id is one token, text is 4 bytes of UTF-8 a token, and nothing is added
around either. So a token is 4 bytes of content, and block i is bytes [4iB, 4(i+1)B) of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from swarm.streams import stream

TOKEN_BYTES = 4
PRINT_BYTES = 8

KINDS_MAX = 16
"""Kinds of marks that there may be."""

_HALF = np.uint64(32)
_MASK = 2**64 - 1


class Fingerprints:
    """Fingerprints of blocks of one size.

    A block's is the sum of its 64-bit words times random odd numbers, modulo 2^64, each word's high half
    folded into its low one first: two blocks that differ have the same with a chance of 2^-33 at most, and
    blocks are only compared with others that follow the same prefix.
    """

    __slots__ = ("_block_bytes", "_factors", "_kinds", "_pads")

    def __init__(self, *, block_tokens: int) -> None:
        self._block_bytes = block_tokens * TOKEN_BYTES
        self._pads = self._block_bytes % PRINT_BYTES != 0
        words = -(-self._block_bytes // PRINT_BYTES)
        draws = stream(0, "fingerprints", str(block_tokens))
        self._factors: NDArray[np.uint64] = draws.integers(0, 2**64, words, dtype=np.uint64) | np.uint64(1)
        self._kinds = [int(kind) | 1 for kind in draws.integers(0, 2**64, KINDS_MAX, dtype=np.uint64)]

    def of(self, content: bytes, marks: Sequence[tuple[int, int]] = ()) -> bytes:
        """Return the fingerprints of the whole blocks in `content`.

        A mark, a byte's place and a kind, changes the fingerprint of the block that it lies in.
        """
        blocks = len(content) // self._block_bytes
        if not blocks:
            return b""
        if self._pads:
            cells = np.frombuffer(content, dtype=np.uint32, count=len(content) // TOKEN_BYTES)
            cells = cells[: blocks * self._block_bytes // TOKEN_BYTES].reshape(blocks, -1)
            words = np.ascontiguousarray(np.pad(cells, ((0, 0), (0, 1)))).view(np.uint64)
        else:
            words = np.frombuffer(content, dtype=np.uint64, count=blocks * self._block_bytes // PRINT_BYTES)
            words = words.reshape(blocks, -1)
        prints: NDArray[np.uint64] = (words ^ (words >> _HALF)) @ self._factors
        for at, kind in marks:
            block, within = divmod(at, self._block_bytes)
            if block < blocks:
                prints[block] = (int(prints[block]) + self._kinds[kind] * (2 * within + 1)) & _MASK
        return prints.tobytes()


def tokens_of(content_bytes: int) -> int:
    """Return how many tokens so many bytes of content are."""
    return -(-content_bytes // TOKEN_BYTES)
