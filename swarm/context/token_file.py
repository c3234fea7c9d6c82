"""A real tokenizer's file: text to ids and back, and the words that are one token each.

The only door to the `tokenizers` library, which is optional.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from swarm.context.render import WORD_BYTES
from swarm.errors import ConfigError

WORDS_LEAST = 64
WORDS_MOST = 4096
TRIAL_WORDS = 4096


class TokenFile:
    """A `tokenizer.json`; `member` is the setting that names it, for what is said of it."""

    def __init__(self, path: Path, member: str) -> None:
        self._path = path
        self._member = member
        self._loaded = _loaded(path, member)

    def ids(self, text: str) -> list[int]:
        """Return a text's token ids, without what a model wants around them."""
        ids: list[int] = self.encoded(text).ids
        return ids

    def encoded(self, text: str) -> Any:
        """Return the library's view of a text: ids, and the characters that each stands for."""
        return self._loaded.encode(text, add_special_tokens=False)

    def text(self, ids: list[int]) -> str:
        """Return what ids stand for; those that the vocabulary lacks are left out."""
        text: str = self._loaded.decode(ids, skip_special_tokens=False)
        return text

    def words(self) -> dict[bytes, int]:
        """Return words of a space and three letters that are one token each wherever they stand, with ids.

        Raises:
            ConfigError: There are too few.
        """
        known = _words(self._loaded)
        words = [word for word, token in known.items() if self.ids(word) == [token]][:WORDS_MOST]
        if len(words) < WORDS_LEAST:
            raise self._unfit(
                f"has {len(words)} tokens of a space and three letters, at least {WORDS_LEAST} are needed"
            )
        trial = [words[k * k % len(words)] for k in range(TRIAL_WORDS)]
        found = len(self.ids("".join(trial)))
        if found != len(trial):
            raise self._unfit(
                f"makes {found} tokens of {len(trial)} words: it joins words, so lengths cannot be exact"
            )
        return {word.encode(): known[word] for word in words}

    def _unfit(self, why: str) -> ConfigError:
        return ConfigError(f"{self._member}: {self._path} {why}")


@cache
def token_file(path: Path, member: str) -> TokenFile:
    """Return a tokenizer's file, read once.

    Raises:
        ConfigError: The file or the library is not there.
    """
    return TokenFile(path, member)


def _loaded(path: Path, member: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ConfigError(
            f"{member} needs the library `tokenizers`: pip install 'swarm-emulator[tokenizer]'"
        ) from None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as fault:  # noqa: BLE001 - the library raises bare exceptions for every kind of bad file
        raise ConfigError(f"{member}: {path} cannot be read: {str(fault)[:200]}") from None


def _words(tokenizer: Any) -> dict[str, int]:
    """Return the vocabulary's candidates with their ids, in the order of these."""
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=False)
    # Byte-level vocabularies write a leading space as U+0120, SentencePiece ones as U+2581.
    spaced = {
        " " + piece[1:]: vocabulary[piece]
        for piece in sorted(vocabulary, key=vocabulary.__getitem__)
        if piece[:1] in ("\u0120", "\u2581", " ")
    }
    return {
        word: token
        for word, token in spaced.items()
        if len(word) == WORD_BYTES and word[1:].isascii() and word[1:].isalpha()
    }
