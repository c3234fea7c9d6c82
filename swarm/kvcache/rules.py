"""How a fleet's caches count blocks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How one fleet's caches count."""

    block_tokens: int
    block_bytes: int
    hit_leaves_a_token: bool
    """A hit covers at most (prompt - 1) // block blocks, as the last token must be computed (vLLM)."""
    partial_blocks: bool
    """A block that is not full takes the room of one (vLLM)."""

    def room_for(self, tokens: int) -> int:
        """Return how many blocks of room `tokens` take."""
        return (tokens + self.block_tokens - 1 if self.partial_blocks else tokens) // self.block_tokens

    def hit_limit(self, tokens: int) -> int:
        """Return how many blocks of a prompt can be hit at most."""
        return max(0, tokens - 1 if self.hit_leaves_a_token else tokens) // self.block_tokens
