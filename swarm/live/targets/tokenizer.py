"""A server's tokenizer, where one is at hand: which words are one token, so that lengths come out exactly.

The only door to the `tokenizers` library, which is optional.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from swarm.context.render import WORD_BYTES
from swarm.errors import ConfigError

WORDS_LEAST = 64
WORDS_MOST = 4096
TRIAL_WORDS = 4096
FIT_TRIES = 12
"""Of cutting and filling a reply; then words alone take its place."""


@cache
def single_tokens(path: Path) -> tuple[bytes, ...]:
    """Return words of a space and three letters that are one token each, wherever they stand in a text.

    Raises:
        ConfigError: The file or the library is not there, or the tokenizer has too few such words.
    """
    tokenizer = _loaded(path)
    known = _words(tokenizer)
    words = [word for word, token in known.items() if _ids(tokenizer, word) == [token]][:WORDS_MOST]
    if len(words) < WORDS_LEAST:
        raise ConfigError(
            f"target.tokenizer: {path} has {len(words)} tokens of a space and three letters, at least "
            f"{WORDS_LEAST} are needed; leave it out, and lengths are measured from the server's usage, or "
            "set target.api: token_ids, which takes no words"
        )
    trial = [words[k * k % len(words)] for k in range(TRIAL_WORDS)]
    found = len(_ids(tokenizer, "".join(trial)))
    if found != len(trial):
        raise ConfigError(
            f"target.tokenizer: {path} makes {found} tokens of {len(trial)} words: it joins words, so "
            "lengths cannot be exact; leave it out, and they are measured from the server's usage"
        )
    return tuple(word.encode() for word in words)


@cache
def exact_text(path: Path) -> Callable[[str, int], str]:
    """Return what makes a text as many tokens as asked, between the words of `single_tokens`.

    A model's tokens need not be those of the text that they make: what came as 48 may be read as 61. A long
    text is cut at its end, a short one is filled up with words. Raises like `single_tokens`.
    """
    words = [word.decode() for word in single_tokens(path)]
    return partial(_fitted, _loaded(path), tuple(words))


def _fitted(tokenizer: Any, words: tuple[str, ...], text: str, tokens: int) -> str:
    if text[:1].isalnum():
        # Behind a word it would be read as one with it.
        text = " " + text
    for attempt in range(FIT_TRIES):
        found = tokenizer.encode(words[0] + text + words[1], add_special_tokens=False)
        count = len(found.ids) - 2
        if count == tokens:
            return text
        if count < tokens:
            text += "".join(words[k * k % len(words)] for k in range(tokens - count))
        else:
            # Where a cut joins what was apart, the next one is a token earlier.
            start = found.offsets[max(1, 1 + tokens - attempt)][0] - len(words[0])
            text = text[: max(0, start)]
    return "".join(words[k * k % len(words)] for k in range(tokens))


def _loaded(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ConfigError(
            "target.tokenizer needs the library `tokenizers`: pip install 'swarm-emulator[tokenizer]'"
        ) from None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as fault:  # noqa: BLE001 - the library raises bare exceptions for every kind of bad file
        raise ConfigError(f"target.tokenizer: {path} cannot be read: {str(fault)[:200]}") from None


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


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids
