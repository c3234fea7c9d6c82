"""Rounds with a barrier, against a closed form and a published curve."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.measure.measured_run import MeasuredRun
from swarm.sim.run import simulated


def run_of(
    kv_tokens: int, block_tokens: int = 64, *, load: dict[str, Any] | None = None, **workload: Any
) -> MeasuredRun:
    """Run one group of clients to its end, over HBM alone."""
    experiment = Experiment.model_validate(
        {
            "name": "t",
            "workload": {"kind": "rounds"} | workload,
            "load": {"agents": 1, "ramp_s": 0, "sessions_max": 1, "duration_s": None} | (load or {}),
            "fleet": {
                "block_tokens": block_tokens,
                "cost": {"kind": "simple", "kv_bytes_per_token": 1024, "kv_capacity_tokens": kv_tokens},
            },
        }
    )
    return simulated(experiment)


def by_round(run: MeasuredRun) -> list[float]:
    return [line["hit_rate"] for line in run.summary()["cache"]["by_turn"]]


@pytest.mark.parametrize(("replies", "kept"), [("none", 0), ("planned", 0), ("actual", 48)])
def test_all_that_went_before_hits_where_there_is_room(replies: str, kept: int) -> None:
    # Planned text was not decoded; the last token of a reply was not fed back, its block of 16 is not whole.
    run = run_of(10**6, 16, clients=5, rounds=4, request_tokens=640, output_tokens=64, replies=replies)
    own = 0 if replies == "none" else 64
    held = [number * 640 + max(0, number - 1) * own + (kept if number else 0) for number in range(4)]
    asked = [(number + 1) * 640 + number * own for number in range(4)]
    assert by_round(run) == pytest.approx([hit / all_ for hit, all_ in zip(held, asked, strict=True)])


def test_a_round_begins_when_the_last_of_the_round_before_has_ended() -> None:
    run = run_of(10**6, load={"admission": {"max_in_flight": 3}}, clients=10, rounds=4)
    rows = run.results.rows.to_pylist()
    rounds = [[row for row in rows if row["turn"] == number] for number in range(4)]
    assert [len(each) for each in rounds] == [10] * 4
    for before, after in pairwise(rounds):
        assert {row["intended_s"] for row in after} == {max(row["completed_s"] for row in before)}


def test_clients_share_what_they_begin_with() -> None:
    run = run_of(10**6, clients=4, rounds=1, shared_tokens=6400, request_tokens=640, order="fixed")
    assert sum(row["cached_tokens"] for row in run.results.rows.to_pylist()) == 3 * 6400


def test_a_published_collapse_by_round() -> None:
    # sgl-project/sglang PR 27010: 128 clients, 262,144 tokens of HBM.
    published = [0.0, 0.471, 0.654, 0.631, 0.363, 0.24]
    found = by_round(
        run_of(
            262_144,
            load={"admission": {"max_in_flight": 8}},
            clients=128,
            rounds=6,
            request_tokens=512,
            output_tokens=64,
        )
    )
    assert found == pytest.approx(published, abs=0.02)


def test_clients_without_think_times_go_on_for_as_long_as_they_are_asked_to() -> None:
    # More than the kernel takes at one instant; time moves by what the fleet does alone.
    run = run_of(10**6, clients=1, rounds=40_000, request_tokens=1, replies="none")
    assert len(run.results.rows) == 40_000
