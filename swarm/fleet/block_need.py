"""How many KV blocks a decoding batch takes at any later step, without a look at each sequence."""

from __future__ import annotations


class BlockNeed:
    """Blocks of sequences that all grow by one token a step.

    A sequence is filed under its length less the step count, which never changes while it decodes: its
    remainder by the block size says at which steps it needs one block more.
    """

    __slots__ = ("_block_tokens", "_by_remainder", "_count", "_whole")

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._by_remainder = [0] * block_tokens
        self._count = 0
        self._whole = 0

    def add(self, tokens: int, step: int) -> None:
        """Count a sequence that is `tokens` long at `step`."""
        base = tokens - step
        self._whole += base // self._block_tokens
        self._by_remainder[base % self._block_tokens] += 1
        self._count += 1

    def remove(self, tokens: int, step: int) -> None:
        """Stop counting a sequence that is `tokens` long at `step`."""
        base = tokens - step
        self._whole -= base // self._block_tokens
        self._by_remainder[base % self._block_tokens] -= 1
        self._count -= 1

    def blocks(self, step: int) -> int:
        """Return the blocks that all take at `step`, each rounded up."""
        blocks = self._whole + self._count * (step // self._block_tokens + 1)
        remainder = step % self._block_tokens
        if remainder:
            return blocks + sum(self._by_remainder[self._block_tokens - remainder + 1 :])
        return blocks - self._by_remainder[0]

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
