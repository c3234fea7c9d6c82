"""Log-probabilities of an emulated model: made up, the same for the same token, shaped as real ones."""

from __future__ import annotations

from zlib import crc32

from swarm.provider.fingerprints import TOKEN_BYTES
from swarm.provider.replies.prose import VOCABULARY

MOST = 20
"""Tokens whose chances are told at one place, at most."""


def pieces(text: bytes) -> list[str]:
    """Return a text's tokens; a character that lies in two of them belongs to the first."""
    found: list[str] = []
    at = 0
    while at < len(text):
        end = at + TOKEN_BYTES
        while end < len(text) and text[end] & 0xC0 == 0x80:
            end += 1
        found.append(text[at:end].decode(errors="replace"))
        at = end
    return found


def logprob(token: str) -> float:
    """Return a token's: it was the likeliest, at 40 to 99 %."""
    share = crc32(token.encode()) / 2**32
    return round(-0.01 - 0.9 * share * share, 6)


def others(token: str, count: int) -> list[tuple[str, float]]:
    """Return the likeliest tokens at a place, the one that is there first."""
    first = logprob(token)
    found = [(token, first)]
    start = crc32(token.encode()) % len(VOCABULARY)
    for step in range(len(VOCABULARY)):
        if len(found) >= count:
            break
        other = VOCABULARY[(start + step) % len(VOCABULARY)].decode()
        if other != token:
            found.append((other, round(first - 1.5 - 0.5 * len(found), 6)))
    return found[:count]
