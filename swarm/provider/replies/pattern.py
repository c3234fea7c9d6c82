"""Texts that a regular expression finds itself in."""

from __future__ import annotations

import re
from collections.abc import Callable
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np

MORE_MAX = 3
"""Repeats beyond the least, where a pattern allows any number."""
REPEATS_MAX = 4096
_ANY = "abcdefghijklmnopqrstuvwxyz0123456789"
_PRINTABLE = [chr(code) for code in range(0x20, 0x7F)]
_CLASSES = {
    codes.CATEGORY_DIGIT: str.isdigit,
    codes.CATEGORY_SPACE: str.isspace,
    codes.CATEGORY_WORD: lambda letter: letter.isalnum() or letter == "_",
}
_OPPOSITES = {
    codes.CATEGORY_NOT_DIGIT: codes.CATEGORY_DIGIT,
    codes.CATEGORY_NOT_SPACE: codes.CATEGORY_SPACE,
    codes.CATEGORY_NOT_WORD: codes.CATEGORY_WORD,
}


class PatternError(Exception):
    """A pattern that cannot be read, or that no text was made for."""


def fitting(pattern: str, chance: np.random.Generator) -> str:
    """Return a text in which a pattern is found; raises `PatternError`."""
    try:
        text = "".join(_Text(chance).of(parser.parse(pattern)))
        if re.search(pattern, text) is None:
            raise PatternError(f"no text could be made for pattern {pattern[:100]!r}")
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"pattern {pattern[:100]!r}: {error}") from None
    return text


class _Text:
    """One text for one pattern; the groups in it, for references back."""

    def __init__(self, chance: np.random.Generator) -> None:
        self._chance = chance
        self._groups: dict[int, str] = {}

    def of(self, parsed: Any) -> list[str]:
        return ["".join(self._one(code, given)) for code, given in parsed]

    def _one(self, code: Any, given: Any) -> list[str]:
        if code is codes.LITERAL:
            return [chr(given)]
        if code is codes.NOT_LITERAL:
            return [self._pick([letter for letter in _ANY if letter != chr(given)])]
        if code is codes.ANY:
            return [self._pick(list(_ANY))]
        if code is codes.IN:
            return [self._pick(_members(given))]
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            return self._repeated(*given)
        if code is codes.BRANCH:
            return self.of(given[1][int(self._chance.integers(len(given[1])))])
        if code is codes.SUBPATTERN:
            text = "".join(self.of(given[3]))
            if given[0] is not None:
                self._groups[given[0]] = text
            return [text]
        if code is codes.ATOMIC_GROUP:
            return self.of(given)
        if code is codes.GROUPREF:
            return [self._groups.get(given, "")]
        if code in (codes.AT, codes.ASSERT, codes.ASSERT_NOT):
            return []
        raise PatternError(f"a pattern with {code} is not understood")

    def _repeated(self, least: int, most: Any, part: Any) -> list[str]:
        if least > REPEATS_MAX:
            raise PatternError(f"a pattern that repeats over {REPEATS_MAX} times")
        most = least + MORE_MAX if most is codes.MAXREPEAT else min(most, least + MORE_MAX)
        count = int(self._chance.integers(least, most + 1))
        return [text for _ in range(count) for text in self.of(part)]

    def _pick(self, letters: list[str]) -> str:
        if not letters:
            raise PatternError("a pattern with an empty class")
        return letters[int(self._chance.integers(len(letters)))]


def _members(given: Any) -> list[str]:
    """Return the printable letters of a class."""
    is_negated = bool(given) and given[0][0] is codes.NEGATE
    found: set[str] = set()
    for code, value in given:
        if code is codes.LITERAL:
            found.add(chr(value))
        elif code is codes.RANGE:
            found.update(chr(at) for at in range(value[0], min(value[1], value[0] + 255) + 1))
        elif code is codes.CATEGORY:
            inside: Callable[[str], bool] = _CLASSES[_OPPOSITES.get(value, value)]
            is_opposite = value in _OPPOSITES
            found.update(letter for letter in _PRINTABLE if bool(inside(letter)) is not is_opposite)
    if is_negated:
        return [letter for letter in _PRINTABLE if letter not in found]
    return sorted(found)
