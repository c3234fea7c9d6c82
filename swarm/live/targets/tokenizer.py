"""A server's tokenizer, where one is at hand: which words are one token, so that lengths come out exactly.

The only door to the `tokenizers` library, which is optional.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from swarm.context.render import WORD_BYTES
from swarm.errors import ConfigError

WORDS_LEAST = 64
WORDS_MOST = 4096
TRIAL_WORDS = 4096


@cache
def single_tokens(path: Path) -> tuple[bytes, ...]:
    """Return words of a space and three letters that are one token each, wherever they stand in a text.

    Raises:
        ConfigError: The file or the library is not there, or the tokenizer has too few such words.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ConfigError(
            "target.tokenizer needs the library `tokenizers`: pip install 'swarm-emulator[tokenizer]'"
        ) from None
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as fault:  # noqa: BLE001 - the library raises bare exceptions for every kind of bad file
        raise ConfigError(f"target.tokenizer: {path} cannot be read: {str(fault)[:200]}") from None
    words = [word for word in _words(tokenizer) if _length(tokenizer, word) == 1][:WORDS_MOST]
    if len(words) < WORDS_LEAST:
        raise ConfigError(
            f"target.tokenizer: {path} has {len(words)} tokens of a space and three letters, at least "
            f"{WORDS_LEAST} are needed; leave it out, and lengths are measured from the server's usage"
        )
    trial = [words[k * k % len(words)] for k in range(TRIAL_WORDS)]
    found = _length(tokenizer, "".join(trial))
    if found != len(trial):
        raise ConfigError(
            f"target.tokenizer: {path} makes {found} tokens of {len(trial)} words: it joins words, so "
            "lengths cannot be exact; leave it out, and they are measured from the server's usage"
        )
    return tuple(word.encode() for word in words)


def _words(tokenizer: object) -> list[str]:
    """Return the vocabulary's candidates in the order of their ids."""
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=False)  # type: ignore[attr-defined]
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    # Byte-level vocabularies write a leading space as U+0120, SentencePiece ones as U+2581.
    words = [" " + piece[1:] for piece in pieces if piece[:1] in ("\u0120", "\u2581", " ")]
    return [word for word in words if len(word) == WORD_BYTES and word[1:].isascii() and word[1:].isalpha()]


def _length(tokenizer: object, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)  # type: ignore[attr-defined]
