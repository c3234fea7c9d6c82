"""Words and token ids of a fixed width, different for every reply."""

from __future__ import annotations

from functools import cache

from swarm.context.render import WORD_BYTES, WORDS, WordAlphabet, id_alphabet, word_alphabet
from swarm.context.tree import root

REPLY_ID_LOW, REPLY_ID_HIGH = 1_000, 8_191
ID_BYTES = 5
"""Four digits and a comma."""
VOCABULARY = tuple(WORDS[at : at + WORD_BYTES] for at in range(0, len(WORDS), WORD_BYTES))


@cache
def _alphabet(vocabulary: tuple[bytes, ...]) -> WordAlphabet:
    return word_alphabet(vocabulary)


def words(name: str, tokens: int, vocabulary: tuple[bytes, ...] = VOCABULARY) -> bytes:
    """Return the text of a reply: a word a token, in usual vocabularies too; fit for a JSON string."""
    return b"".join(_alphabet(vocabulary).render(root(name).extend(tokens)))


def ids(name: str, tokens: int) -> bytes:
    """Return the ids of a reply, `ID_BYTES` each."""
    return b"".join(id_alphabet(REPLY_ID_LOW, REPLY_ID_HIGH).render(root(name).extend(tokens)))
