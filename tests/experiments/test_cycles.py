"""A working set in a cycle and at random: on a reduced scale the shipped sweep keeps its shape."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from swarm.commands.sweep import simulate_point
from swarm.config.read import Point, read_points
from swarm.report.sweep.points import PointResult, derived, figure

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def points_of(name: str, *changes: str) -> list[Point]:
    return read_points(EXPERIMENTS / f"{name}.yaml", list(changes))


def result_of(point: Point) -> PointResult:
    files, error = simulate_point(point.experiment, {})
    assert error is None, error
    summary = orjson.loads(files["summary.json"])
    return PointResult(
        "", point.changes, point.labels, summary, derived(point.experiment, summary, None), None
    )


@pytest.fixture(scope="module")
def cycles() -> dict[tuple[int, str], float]:
    name, found = "sequential_vs_random", {}
    for point in points_of(name, "load.warmup_s=60", "load.duration_s=240"):
        prompts, order = point.changes["workload.prompts"], point.changes["workload.order"]
        if prompts in (16, 17, 18, 32):
            found[prompts, order] = figure(result_of(point), "cache.hit_rate")
    return found


@pytest.mark.parametrize(("prompts", "expected"), [(16, 1.0), (17, 0.5), (18, 0.0), (32, 0.0)])
def test_a_cycle_falls_to_nothing_by_an_overflow_of_one_prompt(cycles, prompts: int, expected: float) -> None:
    assert cycles[prompts, "sequential"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("prompts", [17, 18, 32])
def test_random_order_keeps_about_capacity_over_working_set(cycles, prompts: int) -> None:
    assert cycles[prompts, "random"] == pytest.approx(16.5 / prompts, abs=0.08)
