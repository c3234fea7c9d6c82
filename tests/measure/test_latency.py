"""Latencies of single rows, by hand."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from swarm.measure import latency

ROW = {
    "intended_s": 10.0,
    "due_s": 12.0,
    "sent_s": 12.5,
    "first_token_s": 13.0,
    "last_token_s": 15.0,
    "completed_s": 15.5,
    "output_tokens": 5,
}


@pytest.mark.parametrize(
    ("measure", "changes", "expected"),
    [
        (latency.ttft_s, {}, 0.5),
        (latency.effective_ttft_s, {}, 3.0),
        (latency.tpot_s, {}, 0.5),
        (latency.tpot_s, {"output_tokens": 1}, math.nan),
        (latency.tpot_s, {"last_token_s": None}, 0.625),
        (latency.e2e_s, {}, 5.5),
        (latency.send_lag_s, {}, 0.5),
        (latency.send_lag_s, {"due_s": None}, math.nan),
        (latency.ttft_s, {"first_token_s": None}, math.nan),
        (latency.output_tokens_per_s, {}, 5 / 5.5),
    ],
)
def test_a_latency_is_the_difference_of_its_two_instants(measure, changes, expected) -> None:
    row = ROW | changes
    table = pa.table({name: pa.array([row[name]], pa.float64()) for name in row})
    assert measure(table).tolist() == pytest.approx([expected], nan_ok=True)
