"""A server's tokenizer, where one is at hand: which words are one token, so that lengths come out exactly."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from swarm.context.token_file import TokenFile, token_file
from swarm.errors import ConfigError

MEMBER = "target.tokenizer"
FIT_TRIES = 12
"""Of cutting and filling a reply; then words alone take its place."""


@cache
def single_tokens(path: Path) -> tuple[bytes, ...]:
    """Return words of a space and three letters that are one token each, wherever they stand in a text.

    Raises:
        ConfigError: The file or the library is not there, or the tokenizer has too few such words.
    """
    try:
        return tuple(token_file(path, MEMBER).words())
    except ConfigError as fault:
        raise ConfigError(
            f"{fault}; leave it out, and lengths are measured from the server's usage, or set target.api: "
            "token_ids, which takes no words"
        ) from None


@cache
def exact_text(path: Path) -> Callable[[str, int], str]:
    """Return what makes a text as many tokens as asked, between the words of `single_tokens`.

    A model's tokens need not be those of the text that they make: what came as 48 may be read as 61. A long
    text is cut at its end, a short one is filled up with words. Raises like `single_tokens`.
    """
    words = [word.decode() for word in single_tokens(path)]
    return partial(_fitted, token_file(path, MEMBER), tuple(words))


def _fitted(tokenizer: TokenFile, words: tuple[str, ...], text: str, tokens: int) -> str:
    if text[:1].isalnum():
        # Behind a word it would be read as one with it.
        text = " " + text
    for attempt in range(FIT_TRIES):
        found = tokenizer.encoded(words[0] + text + words[1])
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
