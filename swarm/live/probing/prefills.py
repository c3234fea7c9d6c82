"""First tokens of lone prompts: a grid of what is cached of them and what is new."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from swarm.context.tree import Prompt
from swarm.fleet.cost.calibration import PrefillProbe
from swarm.live.probing.prober import REPLY_TOKENS, TRIES, Prober, ttft_s

PROMPT_TOKENS_MAX = 65_536
NEW_SHARES = (1 / 128, 1 / 32, 1 / 8, 1 / 2, 1.0)
"""Of the longest prompt that is sent: new tokens with nothing cached before them."""
CACHED_SHARES = (
    (1 / 4, 1 / 256),
    (1 / 4, 1 / 16),
    (1 / 2, 1 / 256),
    (1 / 2, 1 / 4),
    (15 / 16, 1 / 256),
    (7 / 8, 1 / 16),
)
"""The same of cached tokens and of new ones behind them."""
ODD_TOKENS = 5
"""Added to what is cached: hits then show what blocks round off."""
NEW_TOKENS_MIN = 16
SLOW_S = 30.0
"""A prompt that takes as long is the longest that is sent."""


class Cell(NamedTuple):
    """One question: so many tokens cached, so many new behind them."""

    cached_tokens: int
    new_tokens: int

    @property
    def name(self) -> str:
        """How it is shown."""
        return f"{self.cached_tokens:,} cached + {self.new_tokens:,} new"


def cells(longest_tokens: int) -> list[Cell]:
    """Return the questions for a server that takes prompts of so many tokens."""
    new = [Cell(0, max(NEW_TOKENS_MIN, int(share * longest_tokens))) for share in NEW_SHARES]
    cached = [
        Cell(int(held * longest_tokens) - ODD_TOKENS, max(NEW_TOKENS_MIN, int(share * longest_tokens)))
        for held, share in CACHED_SHARES
    ]
    return list(dict.fromkeys(cell for cell in new + cached if sum(cell) <= longest_tokens))


class Prefills:
    """Asks a grid's questions, over and over."""

    def __init__(self, prober: Prober, longest_tokens: int, block_tokens: int | None) -> None:
        self._prober = prober
        self._block_tokens = block_tokens
        self.longest_tokens = longest_tokens
        self.cells = cells(longest_tokens)
        self.held: dict[str, list[PrefillProbe]] = {cell.name: [] for cell in self.cells}
        self.hits: list[int] = []
        """Cached tokens that the server has reported."""
        self._prefixes: dict[int, Prompt] = {}
        self._given: dict[int, int] = {}
        """What hits of each right after it was sent."""

    async def shorten(self) -> None:
        """Leave out what takes too long: new prompts are tried from the shortest on."""
        limit = None
        for cell in [cell for cell in self.cells if not cell.cached_tokens]:
            if limit is not None:
                break
            result = await self._prober.send(self._prober.fresh(cell.new_tokens), REPLY_TOKENS)
            if ttft_s(result) > SLOW_S:
                limit = cell.new_tokens
        if limit is not None:
            self.cells = [cell for cell in self.cells if sum(cell) <= limit]
            self.held = {cell.name: [] for cell in self.cells}

    def shortest_s(self) -> float:
        """Return the time to the first token of the shortest prompt, as last seen."""
        return min(probes[-1].ttft_s for probes in self.held.values())

    async def round(self) -> None:
        """Ask every question once."""
        for cell in self.cells:
            self.held[cell.name].append(await self._ask(cell))

    def medians(self) -> Iterator[tuple[Cell, PrefillProbe]]:
        """Yield each question with the last answer to it."""
        for cell in self.cells:
            yield cell, self.held[cell.name][-1]

    async def _ask(self, cell: Cell) -> PrefillProbe:
        prober = self._prober
        for attempt in range(1, TRIES + 1):
            is_new = bool(cell.cached_tokens) and cell.cached_tokens not in self._prefixes
            prompt = await self.prompt(cell)
            await prober.pause()
            result = await prober.send(prompt, REPLY_TOKENS)
            if is_new:
                self._given[cell.cached_tokens] = result.cached_tokens or 0
            if result.first_token_s is None and attempt < TRIES:
                continue
            seconds = ttft_s(result)
            is_whole = self.was_whole(cell, result.cached_tokens or 0)
            is_late = prober.was_late([result], seconds)
            if attempt == TRIES or (is_whole and not is_late):
                break
        prompt_tokens = result.prompt_tokens or prompt.length
        cached = result.cached_tokens
        if cached is None:
            cached = self.assumed(cell)
        elif cell.cached_tokens:
            self.hits.append(cached)
        return PrefillProbe(prompt_tokens, min(cached, prompt_tokens - 1), seconds)

    def was_whole(self, cell: Cell, cached_tokens: int) -> bool:
        """Return whether as much of a prefix hit as does right after it was sent.

        If not, other prompts have taken its place: another question was asked, and the prefix is sent anew.
        """
        is_whole = cached_tokens >= self._given.get(cell.cached_tokens, 0)
        if not is_whole:
            self._prefixes.pop(cell.cached_tokens, None)
        return is_whole

    async def prompt(self, cell: Cell) -> Prompt:
        """Return a prompt of its own, behind a prefix that was sent where some of it is to be cached."""
        if not cell.cached_tokens:
            return self._prober.fresh(cell.new_tokens)
        prefix = self._prefixes.get(cell.cached_tokens)
        if prefix is None:
            prefix = self._prefixes[cell.cached_tokens] = self._prober.fresh(cell.cached_tokens)
            await self._prober.send(prefix, REPLY_TOKENS)
        return self._prober.behind(prefix, cell.new_tokens)

    def assumed(self, cell: Cell) -> int:
        """Return what of a prefix hits where the server does not say: its whole blocks."""
        block = self._block_tokens or 1
        return cell.cached_tokens // block * block
