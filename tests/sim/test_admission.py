"""Admission in virtual time: held to closed forms, and the waiting is inside the latency."""

from typing import Any

import numpy as np
import pytest

from swarm.config.experiment import Experiment
from swarm.measure.latency import effective_ttft_s, floats
from swarm.sim.run import simulate


def rows(admission: dict[str, Any], agents: int = 4, **load: Any) -> Any:
    experiment = Experiment.model_validate(
        {
            "name": "gate",
            "workload": {
                "kind": "prompt_set",
                "prompts": 64,
                "prompt_tokens": 1000,
                "output_tokens": 1,
                "think_s": {"median": 0.001, "sigma": 0},
            },
            "load": {
                "agents": agents,
                "ramp_s": 0,
                "duration_s": 60,
                "drain_s": 5,
                "admission": admission,
                **load,
            },
            "fleet": {
                "cost": {"kind": "simple", "prefill_tokens_per_s": 10_000, "decode_base_s": 0.001},
                "replicas": [{"count": 8}],
                "router": "least_loaded",
            },
        }
    )
    return simulate(experiment, ()).rows


def most_at_once(table: Any) -> int:
    """Return the most requests that were sent and not ended at one time."""
    sent, ended = floats(table, "sent_s"), floats(table, "completed_s")
    # Turns that still waited when the load ended were never sent.
    sent, ended = sent[~np.isnan(sent)], ended[~np.isnan(sent)]
    steps = sorted([(at_s, 1) for at_s in sent] + [(at_s, 0) for at_s in ended])
    return int(max(np.cumsum([1 if begins else -1 for _, begins in steps])))


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_more_are_in_flight_than_may_be(limit: int) -> None:
    assert most_at_once(rows({"max_in_flight": limit}, duration_s=10)) == limit
    assert most_at_once(rows({}, duration_s=10)) == 4


def test_a_token_budget_sets_the_pace() -> None:
    table = rows({"input_tokens_per_minute": 60_000})
    # A minute's bucket of 60 requests of 1,000 tokens, and 60 more in the minute.
    assert table.num_rows == pytest.approx(120, abs=4)


def test_the_waiting_is_in_the_effective_ttft_alone() -> None:
    table = rows({"max_in_flight": 1}, duration_s=10)
    waits = floats(table, "admission_wait_s")
    assert waits.max() > 0.1
    wire = floats(table, "first_token_s") - floats(table, "sent_s")
    known = ~np.isnan(wire)
    assert effective_ttft_s(table)[known] == pytest.approx(waits[known] + wire[known])
    assert (floats(table, "due_s") == floats(table, "sent_s"))[known].all()
