"""How many KV blocks a decoding batch takes at any later step, without a look at each sequence."""

from __future__ import annotations


class BlockNeed:
    """Blocks of sequences that all grow by one token a step.

    A sequence is filed under its length less the step count, which never changes while it decodes: its
    remainder by the block size says at which steps it needs one block more. Asked far more often than
    sequences come and go, so how many remainders are at least so large is kept added up.
    """

    __slots__ = ("_at_least", "_block_tokens", "_count", "_whole")

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._at_least = [0] * (block_tokens + 1)
        """By number: sequences whose remainder is no less; [0] is not used."""
        self._count = 0
        self._whole = 0

    def add(self, tokens: int, step: int) -> None:
        """Count a sequence that is `tokens` long at `step`."""
        base = tokens - step
        self._count += 1
        self._whole += base // self._block_tokens
        self._file(base % self._block_tokens, 1)

    def remove(self, tokens: int, step: int) -> None:
        """Stop counting a sequence that is `tokens` long at `step`."""
        base = tokens - step
        self._count -= 1
        self._whole -= base // self._block_tokens
        self._file(base % self._block_tokens, -1)

    def blocks(self, step: int) -> int:
        """Return the blocks that all take at `step`, each rounded up."""
        size = self._block_tokens
        remainder = step % size
        blocks = self._whole + self._count * (step // size)
        if remainder:
            return blocks + self._count + self._at_least[size - remainder + 1]
        return blocks + self._at_least[1]

    def steps_within(self, step: int, blocks: float, steps: int) -> int:
        """Return how many steps after `step`, at most `steps`, take no more than `blocks`."""
        if self.blocks(step + steps) <= blocks:
            return steps
        low, high = 0, steps
        while high - low > 1:
            middle = (low + high) // 2
            if self.blocks(step + middle) <= blocks:
                low = middle
            else:
                high = middle
        return low

    def _file(self, remainder: int, count: int) -> None:
        at_least = self._at_least
        for least in range(1, remainder + 1):
            at_least[least] += count
