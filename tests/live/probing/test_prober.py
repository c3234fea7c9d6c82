"""What a probe took: from when its last byte was handed over, or from before where the answer was faster."""

from __future__ import annotations

import pytest

from swarm.errors import RunError
from swarm.live.probing.prober import TTFT_S_LEAST, ttft_s
from swarm.live.targets.turn import TurnResult


@pytest.mark.parametrize(
    ("written_s", "first_token_s", "seconds"),
    [
        (1.002, 1.010, 0.008),
        (None, 1.010, 0.010),
        # The server's core read the last byte and answered before this process was told that it was written.
        (1.00012, 1.0001, 0.0001),
        (1.0001, 0.9999, TTFT_S_LEAST),
    ],
)
def test_a_first_token_is_counted_from_when_the_server_had_all(
    written_s: float | None, first_token_s: float, seconds: float
) -> None:
    result = TurnResult(sent_s=1.0, written_s=written_s, first_token_s=first_token_s)
    assert ttft_s(result) == pytest.approx(seconds)


def test_no_token_is_no_time() -> None:
    with pytest.raises(RunError, match="sent no token"):
        ttft_s(TurnResult(sent_s=1.0))
