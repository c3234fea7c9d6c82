"""experiments/posix_contended.yaml: a shared tier that helps a few sessions makes many wait longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.config.read import read_experiment
from swarm.sim.run import simulated

FILE = Path(__file__).parents[2] / "experiments" / "posix_contended.yaml"
COMPUTE = "fleet.tiers=[{name: hbm, capacity_gib: 48}]"
LOAD = "fleet.recompute_when_faster=false"
CHOOSE = "fleet.recompute_when_faster=true"


def mean_ttft_s(sessions: int, change: str) -> float:
    experiment = read_experiment(FILE, [f"load.agents={sessions}", change])
    return float(simulated(experiment).summary()["ttft_s"]["mean"])


@pytest.mark.parametrize(("sessions", "loading_is_ahead"), [(4, True), (24, False)])
def test_loading_is_ahead_of_computing_until_too_many_load(sessions: int, loading_is_ahead: bool) -> None:
    compute_s, load_s = mean_ttft_s(sessions, COMPUTE), mean_ttft_s(sessions, LOAD)
    assert (load_s < 0.95 * compute_s) if loading_is_ahead else (load_s > 1.05 * compute_s)
    assert mean_ttft_s(sessions, CHOOSE) < min(compute_s, load_s)
