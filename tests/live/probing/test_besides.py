"""How late a reply is by a prompt beside it, from the times of its tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.live.probing.besides import Besides, stall_of
from swarm.live.probing.prefills import Cell

PACE_S = 0.01
SENT = 30
"""The token of the reply that comes when the prompt is sent."""


def times(late_s: float, *, tokens: int = 80) -> list[float]:
    """Return when a reply's tokens come: one of them is late, by a prompt beside it."""
    return list(accumulate(PACE_S + late_s * (k == SENT + 2) for k in range(tokens)))


@pytest.mark.parametrize("late_s", [0.0, 0.004, 0.3])
def test_a_reply_is_late_by_what_a_prompt_took_of_its_steps(late_s: float) -> None:
    came = times(late_s)
    assert stall_of(came, came[SENT] + 0.001, came[SENT + 2]) == pytest.approx(late_s, abs=1e-9)


def test_a_reply_that_slows_down_as_it_grows_is_late_by_no_more() -> None:
    came = list(accumulate(PACE_S + 1e-5 * k + 0.004 * (k == SENT + 2) for k in range(80)))
    assert stall_of(came, came[SENT] + 0.001, came[SENT + 2]) == pytest.approx(0.004, abs=1e-9)


@pytest.mark.parametrize("odd", [SENT, SENT - 3, SENT + 12])
def test_a_token_that_was_read_late_is_no_stall(odd: int) -> None:
    came = times(0.004)
    came[odd] += 0.001
    assert stall_of(came, came[SENT] + 0.001, came[SENT + 2]) == pytest.approx(0.004, abs=0.0002)


@pytest.mark.parametrize("sent", [3, 74])
def test_a_reply_that_was_hardly_under_way_tells_nothing(sent: int) -> None:
    came = times(0.1)
    assert stall_of(came, came[sent], came[sent]) is None


def test_a_reply_that_ended_before_tells_nothing() -> None:
    came = times(0.1)
    assert stall_of(came, came[SENT], came[-1] + 1.0) is None


class Silent:
    """A prober whose server's single tokens are parts of a character: no text shows them."""

    def fresh(self, tokens: int) -> SimpleNamespace:
        return SimpleNamespace(length=tokens)

    async def pause(self) -> None:
        pass

    async def send(self, prompt: SimpleNamespace, output_tokens: int) -> Any:
        return SimpleNamespace(sent_s=1.0, first_token_s=None, written_s=1.0, token_times=[])

    async def together(self, prompts: Sequence[SimpleNamespace], output_tokens: int) -> list[Any]:
        return [await self.send(prompt, output_tokens) for prompt in prompts]


class Questions:
    """One question, whose lone answer is known."""

    longest_tokens = 1_000
    cells = (Cell(0, 100),)

    def __init__(self) -> None:
        self.held = {self.cells[0].name: [SimpleNamespace(ttft_s=0.001)]}

    async def prompt(self, cell: Cell) -> SimpleNamespace:
        return SimpleNamespace(length=cell.new_tokens)

    def shortest_s(self) -> float:
        return 0.0


def test_a_token_that_no_text_shows_answers_nothing() -> None:
    prober: Any = Silent()
    questions: Any = Questions()
    besides = Besides(prober, questions, context_tokens=2_000, engines=1)
    asyncio.run(besides.round(1e-5))
    assert besides.known() == {} and besides.apart_s == []
