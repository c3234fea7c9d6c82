"""A request at a hierarchy: its admission, what it holds while it is open, the transfers that it causes."""

from __future__ import annotations

from typing import Literal

from swarm.context.tree import Node
from swarm.kvcache.blocks import Piece
from swarm.kvcache.match import Match
from swarm.kvcache.tier import Tier


class Handle:
    """An open request: it pins its first `visible` blocks and reserves room for `reserved` more."""

    __slots__ = (
        "is_open",
        "keep_blocks",
        "keep_s",
        "loads",
        "loads_end",
        "node",
        "pins",
        "prompt_blocks",
        "reserved",
        "saved_end",
        "tokens",
        "visible",
    )

    def __init__(self, node: Node, tokens: int) -> None:
        self.node = node
        self.tokens = tokens
        """Tokens that it has room for."""
        self.visible = 0
        self.reserved = 0
        self.pins: list[tuple[Node, int]] = []
        """The pinned end in each node of its path, root first."""
        self.loads = 0
        """Reads that have not landed."""
        self.loads_end = 0
        """Blocks that are visible when they have."""
        self.is_open = True
        self.keep_blocks = 0
        """So many of its first blocks are to be kept for `keep_s` after their last use."""
        self.keep_s = 0.0
        self.prompt_blocks = 0
        """Whole blocks of its prompt that a hit could cover."""
        self.saved_end = 0
        """After so many blocks its last saved state is, or the one that it went on from."""


class Transfer:
    """Blocks that must be moved: the caller times it, then calls `land`, or for a write `drop`."""

    __slots__ = ("blocks", "bytes", "direction", "handle", "is_settled", "pieces", "tier", "tier_index")

    def __init__(
        self,
        tier: Tier,
        tier_index: int,
        direction: Literal["read", "write"],
        blocks: int,
        block_bytes: int,
        pieces: list[Piece],
        handle: Handle | None,
    ) -> None:
        self.tier = tier
        """Where it is read from or written to."""
        self.tier_index = tier_index
        self.direction = direction
        self.blocks = blocks
        self.bytes = blocks * block_bytes
        self.pieces = pieces
        """What a write carries."""
        self.handle = handle
        """Who waits for a read."""
        self.is_settled = False

    def __repr__(self) -> str:
        return f"Transfer({self.direction} {self.tier.spec.name}, blocks={self.blocks})"


class Admission:
    """What became of a request at the door; `handle` is None unless admitted."""

    __slots__ = (
        "handle",
        "ideal_tokens",
        "lost_to",
        "match",
        "outcome",
        "transfers",
        "used_by_tier",
        "used_tokens",
    )

    def __init__(
        self,
        outcome: Literal["admitted", "wait", "too_large"],
        handle: Handle | None,
        match: Match,
        used_tokens: int,
        ideal_tokens: int,
        used_by_tier: tuple[int, ...],
        lost_to: tuple[int, ...],
        transfers: list[Transfer],
    ) -> None:
        self.outcome = outcome
        self.handle = handle
        self.match = match
        self.used_tokens = used_tokens
        """Of the match, what the request uses: pinned, or being loaded."""
        self.ideal_tokens = ideal_tokens
        """What no limit would have kept away; at least what is held."""
        self.used_by_tier = used_by_tier
        """The used tokens, in the order of `swarm.hit_names.TIERS`."""
        self.lost_to = lost_to
        """Ideal minus used tokens, in the order of `LOST_TO`; zeros where no ideal was given."""
        self.transfers = transfers


class Growth:
    """Whether a request got room for more tokens; if not, nothing changed for it."""

    __slots__ = ("ok", "transfers")

    def __init__(self, ok: bool, transfers: list[Transfer]) -> None:
        self.ok = ok
        self.transfers = transfers
