"""A grid of cached and new tokens: what is asked is answered, also where a small pool forgets prefixes."""

from __future__ import annotations

import asyncio
from array import array

import pytest

from swarm.context.tree import Node, Prompt
from swarm.live.probing.prefills import Prefills
from swarm.live.targets.turn import TurnResult

BLOCK = 16


class SmallServer:
    """A prober of a server that holds the last so many prompts, and caches whole blocks of them."""

    def __init__(self, prompts_max: int) -> None:
        self._prompts_max = prompts_max
        self._held: list[Prompt] = []
        self._count = 0

    def fresh(self, tokens: int) -> Prompt:
        self._count += 1
        return Prompt(Node(f"fresh/{self._count}"), tokens)

    def behind(self, prompt: Prompt, tokens: int) -> Prompt:
        self._count += 1
        return prompt.branch(f"behind/{self._count}").extend(tokens)

    async def pause(self) -> None:
        pass

    async def send(self, prompt: Prompt, output_tokens: int) -> TurnResult:
        cached = max((_shared(prompt, other) for other in self._held), default=0) // BLOCK * BLOCK
        self._held = [*self._held, prompt][-self._prompts_max :] if self._prompts_max else []
        seconds = 0.1 + 1e-3 * (prompt.length - cached)
        return TurnResult(
            sent_s=0.0,
            first_token_s=seconds,
            token_times=array("d", [seconds]),
            prompt_tokens=prompt.length,
            cached_tokens=cached,
        )

    def was_late(self, results: list[TurnResult], seconds: float) -> bool:
        return False


def _shared(prompt: Prompt, other: Prompt) -> int:
    """Return how long the beginning is that both have: `other` whole, where `prompt` goes on behind it."""
    if prompt.node is other.node or prompt.node.parent is other.node:
        return min(prompt.length, other.length)
    same = prompt.node.parent is not None and prompt.node.parent is other.node.parent
    return prompt.node.start if same else 0


@pytest.mark.parametrize("prompts_max", [1, 3, 100])
def test_each_probe_hits_what_it_asks_about(prompts_max: int) -> None:
    prefills = Prefills(SmallServer(prompts_max), 8_192, BLOCK)  # type: ignore[arg-type]

    async def rounds() -> None:
        for _ in range(4):
            await prefills.round()

    asyncio.run(rounds())
    for cell in prefills.cells:
        found = {probe.cached_tokens for probe in prefills.held[cell.name]}
        assert found == {cell.cached_tokens // BLOCK * BLOCK}


def test_a_server_that_caches_nothing_is_asked_once_each() -> None:
    server = SmallServer(0)
    prefills = Prefills(server, 8_192, None)  # type: ignore[arg-type]
    asyncio.run(prefills.round())
    prefixes = len({cell.cached_tokens for cell in prefills.cells if cell.cached_tokens})
    assert server._count == len(prefills.cells) + prefixes


def test_a_prefix_that_is_gone_is_sent_again_before_it_is_asked_about() -> None:
    server = SmallServer(100)
    prefills = Prefills(server, 8_192, BLOCK)  # type: ignore[arg-type]
    cell = next(cell for cell in prefills.cells if cell.cached_tokens)

    async def sent() -> list[int]:
        await prefills.round()
        counts = []
        for cached_tokens in (cell.cached_tokens // BLOCK * BLOCK, 0):
            prefills.was_whole(cell, cached_tokens)
            before = server._count
            await prefills.prompt(cell)
            counts.append(server._count - before)
        return counts

    # The prompt alone; then its prefix before it.
    assert asyncio.run(sent()) == [1, 2]


class Wordless(SmallServer):
    """One whose first reply to a question shows no text: its tokens are parts of a character."""

    def __init__(self) -> None:
        super().__init__(100)
        self._asked: set[int] = set()

    async def send(self, prompt: Prompt, output_tokens: int) -> TurnResult:
        result = await super().send(prompt, output_tokens)
        if prompt.length not in self._asked:
            result.first_token_s = None
        self._asked.add(prompt.length)
        return result


def test_a_reply_that_shows_no_text_is_asked_for_again() -> None:
    prefills = Prefills(Wordless(), longest_tokens=8_000, block_tokens=BLOCK)  # type: ignore[arg-type]
    asyncio.run(prefills.round())
    for cell, probe in prefills.medians():
        assert probe.ttft_s == pytest.approx(0.1 + 1e-3 * probe.new_tokens)
        assert probe.cached_tokens == cell.cached_tokens // BLOCK * BLOCK
