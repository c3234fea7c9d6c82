"""The emulated tokenizer, both ways: 4 bytes are a token, and its id is their number."""

from __future__ import annotations

from array import array

from swarm.provider.fingerprints import TOKEN_BYTES
from swarm.provider.replies.prose import REPLY_ID_HIGH, REPLY_ID_LOW, VOCABULARY


def ids_of_text(data: bytes) -> list[int]:
    """Return the ids of a text, the last one filled up with zeros: as a prompt they are the same content."""
    return array("I", data + bytes(-len(data) % TOKEN_BYTES)).tolist()


def text_of_ids(data: bytes) -> str:
    """Return the text of ids of 4 bytes each; the ids of replies, which no text makes, are words."""
    parts: list[bytes] = []
    for one in array("I", data):
        if REPLY_ID_LOW <= one <= REPLY_ID_HIGH:
            parts.append(VOCABULARY[one % len(VOCABULARY)])
        else:
            parts.append(one.to_bytes(TOKEN_BYTES, "little").rstrip(b"\x00"))
    return b"".join(parts).decode(errors="replace")


def pieces_of_ids(ids: list[int]) -> list[str]:
    """Return each id's text."""
    return [text_of_ids(array("I", [one]).tobytes()) for one in ids]
