"""What numpy's `SeedSequence` makes of a whole number, without its overhead: most of what a stream costs.

Melissa O'Neill's seed_seq_fe with a pool of four words, as in numpy/random/bit_generator.pyx; a test holds
the two equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import i64  # what the compiler keeps in a register; a plain number otherwise

WORD: Final = 0xFFFFFFFF
HASH_START: Final = 0x43B0D7E5
HASH_STEP: Final = 0x931E8875
STATE_START: Final = 0x8B51F9DD
STATE_STEP: Final = 0x58F38DED
MIX_LEFT: Final = 0xCA01F9DD
MIX_RIGHT: Final = 0x4973F715


def seed_words(entropy: int) -> list[int]:
    """Return eight words of 32 bits for a whole number of at most 64 bits: the low words come first."""
    constant: i64 = HASH_START
    pool: list[i64] = []
    start: list[i64] = [entropy & WORD, entropy >> 32, 0, 0]
    for word in start:
        following = _times(constant, HASH_STEP)
        pool.append(_folded(_times(word ^ constant, following)))
        constant = following
    for source in range(4):
        for target in range(4):
            if source == target:
                continue
            following = _times(constant, HASH_STEP)
            mixed = _folded(_times(pool[source] ^ constant, following))
            constant = following
            pool[target] = _folded(_times(MIX_LEFT, pool[target]) - _times(MIX_RIGHT, mixed) & WORD)
    constant = STATE_START
    words: list[int] = []
    for at in range(8):
        following = _times(constant, STATE_STEP)
        words.append(_folded(_times(pool[at & 3] ^ constant, following)))
        constant = following
    return words


def _folded(word: i64) -> i64:
    return word ^ word >> 16


def _times(a: i64, b: i64) -> i64:
    """Return the low word of a product; by halves, so that nothing leaves a machine's word."""
    return ((a * (b >> 16) & 0xFFFF) << 16) + a * (b & 0xFFFF) & WORD
