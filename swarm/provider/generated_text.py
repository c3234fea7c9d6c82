"""What the emulated model says: words or token ids of a fixed width, different for every request."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from swarm.context.render import id_alphabet, text_alphabet
from swarm.context.tree import root
from swarm.provider.fingerprints import TOKEN_BYTES

REPLY_ID_LOW, REPLY_ID_HIGH = 1_000, 8_191
ID_BYTES = 5
"""Four digits and a comma."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply, known before its first token is due."""

    text: bytes
    """`TOKEN_BYTES` a token, fit for the inside of a JSON string."""
    ids: bytes
    """`ID_BYTES` a token, or nothing where the prompt was text."""

    @property
    def content(self) -> bytes:
        """Return the reply as it continues the prompt's content."""
        if not self.ids:
            return self.text
        return array("I", map(int, self.ids[:-1].split(b","))).tobytes()


def reply_of(number: int, tokens: int, *, is_ids: bool) -> Reply:
    """Return the reply to request `number`."""
    prompt = root(f"reply {number}").extend(tokens)
    text = b"".join(text_alphabet(float(TOKEN_BYTES)).render(prompt))
    ids = b"".join(id_alphabet(REPLY_ID_LOW, REPLY_ID_HIGH).render(prompt)) if is_ids else b""
    return Reply(text, ids)
