"""Prompts whose words a log holds, as chained hashes: equal beginnings have equal hashes.

The words are hashed and let go of. Logs count tokens by the prompt alone, so that
blocks end at a number of bytes a token, which is one for a whole source.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from swarm.workload.formats.agent_logs.identity import Names

PIECE_BYTES = 64
"""Two prompts are told apart within these many bytes of where they part."""
BYTES_PER_TOKEN = 4.0
"""Of a source that counts no tokens."""
_LEAST, _MOST = 1.0, 16.0
_MASK = (1 << 62) - 1
_UNSTABLE = ("cache_control",)
"""Marks that move from request to request, and are no content."""


@dataclass(frozen=True, slots=True)
class Content:
    """A prompt's bytes: how many, and a hash of all before the end of each piece."""

    bytes: int
    ends: array[int]


def content_of(parts: Iterable[Any], salt: bytes = b"") -> Content:
    """Return what is sent in these parts, in the order in which a model sees them.

    With a salt, of up to 64 bytes, nobody who does not have it can try whether words are these.
    """
    words = b"".join(_words(part) for part in parts)
    state = blake2b(digest_size=8, key=salt)
    ends = array("q")
    for at in range(0, len(words) - PIECE_BYTES + 1, PIECE_BYTES):
        state.update(words[at : at + PIECE_BYTES])
        ends.append(int.from_bytes(state.digest(), "little") & _MASK)
    return Content(len(words), ends)


def hashed(text: str, salt: bytes) -> int:
    """Return the hash of a text."""
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=8, key=salt).digest()
    return int.from_bytes(digest, "little") & _MASK


def _words(part: Any) -> bytes:
    written = orjson.dumps(_stable(part), option=orjson.OPT_SORT_KEYS)
    # A text that goes on is not to differ by the quote that ended it.
    return written[1:-1] if type(part) is str else written


def _stable(part: Any) -> Any:
    if type(part) is dict:
        return {str(name): _stable(value) for name, value in part.items() if name not in _UNSTABLE}
    if type(part) is list:
        return [_stable(value) for value in part]
    # Integers beyond 64 bits, which a line may hold and a hash may not.
    return str(part) if type(part) is int and not -(1 << 63) <= part < 1 << 64 else part


def bytes_per_token(counted: Iterable[tuple[Content, int]]) -> float:
    """Return the bytes of a token over prompts whose tokens are counted."""
    size = tokens = 0
    for content, count in counted:
        size, tokens = size + content.bytes, tokens + count
    return min(_MOST, max(_LEAST, size / tokens)) if tokens else BYTES_PER_TOKEN


def ids_of(content: Content, tokens: int, *, block_tokens: int, ratio: float, names: Names) -> array[int]:
    """Return ids of whole blocks; those beyond the words are nobody else's."""
    ids = array("q")
    for number in range(1, tokens // block_tokens + 1):
        piece = -int(-number * block_tokens * ratio // PIECE_BYTES) - 1
        if piece >= len(content.ends):
            break
        # Blocks that end in one piece are told apart by their number.
        ids.append((content.ends[piece] * 31 + number) & _MASK)
    ids.extend(names.take(tokens // block_tokens - len(ids)))
    return ids
