"""How late a reply is by a prompt beside it, from the times of its tokens."""

from __future__ import annotations

from itertools import accumulate

import pytest

from swarm.live.probing.besides import stall_of

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
