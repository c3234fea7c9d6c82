"""Shapes of load as tables, and in virtual time."""

import itertools

import numpy as np
import pytest

from swarm.config.experiment import Experiment
from swarm.config.load import ArrivalsShape, LoadConfig
from swarm.errors import ConfigError
from swarm.load.pacing import pacing_of
from swarm.load.shapes import arrival_times
from swarm.sim.run import simulate


def spans(load: dict[str, object]) -> list[list[tuple[float, float | None]]]:
    pacing = pacing_of(LoadConfig.model_validate(load), None, 1)
    return [[tuple(span) for span in pacing.spans(slot)] for slot in range(pacing.slots)]


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        ({"agents": 2, "ramp_s": 4}, [[(0, None)], [(2, None)]]),
        ({"agents": 2, "shape": {"kind": "ramp", "over_s": 6}}, [[(0, None)], [(3, None)]]),
        (
            {"agents": 3, "shape": {"kind": "steps", "step": 2, "every_s": 5}},
            [[(0, None)], [(0, None)], [(5, None)]],
        ),
        (
            {"shape": {"kind": "schedule", "points": [[0, 1], [10, 2], [20, 0], [30, 1]]}},
            [[(0, 20), (30, None)], [(10, 20)]],
        ),
        (
            {"shape": {"kind": "schedule", "points": [[0, 0], [10, 2], [20, 0]], "between": "linear"}},
            [[(5, 15)], [(10, 10)]],
        ),
    ],
)
def test_a_slot_is_used_while_its_shape_says_so(
    load: dict[str, object], expected: list[list[tuple[float, float | None]]]
) -> None:
    assert spans(load) == expected


@pytest.mark.parametrize(("per_s", "burst"), [(2.0, 1), (2.0, 10)])
def test_arrivals_come_at_their_mean_rate_with_exponential_gaps(per_s: float, burst: int) -> None:
    times = np.array(arrival_times(ArrivalsShape(per_s=per_s, burst=burst), 10_000.0, 1))
    bursts = np.unique(times)
    assert len(times) == burst * len(bursts)
    assert len(times) / 10_000 == pytest.approx(per_s, rel=4 * (burst / 20_000) ** 0.5)
    gaps = np.diff(bursts)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.1)


def test_more_time_adds_arrivals_and_moves_none() -> None:
    shape = ArrivalsShape(per_s=1.0)
    short, long = arrival_times(shape, 50.0, 3), arrival_times(shape, 100.0, 3)
    assert long[: len(short)] == short


def experiment(load: dict[str, object]) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "t",
            "workload": {
                "kind": "prompt_set",
                "prompt_tokens": 1000,
                "turns": 1000,
                "output_tokens": 10,
                "think_s": {"median": 1.0, "sigma": 0.0},
            },
            "load": {"drain_s": 5, **load},
        }
    )


def test_a_schedule_falls_and_rises_in_virtual_time() -> None:
    points = [[0, 4], [100, 1], [200, 3]]
    settled = simulate(experiment({"duration_s": 300, "shape": {"kind": "schedule", "points": points}}), ())
    counts = np.histogram(settled.rows.column("intended_s").to_numpy(), bins=[0, 100, 200, 300])[0]
    # A request takes a second of thinking, a step of prefill and nine of decoding at 0.01 s.
    assert counts.tolist() == pytest.approx([4 * 91.7, 91.7, 3 * 91.7], rel=0.05)
    assert settled.totals.sessions_started == 4 + 2
    assert settled.totals.live_agents_mean == pytest.approx((4 + 1 + 3) / 3)


def test_sessions_that_arrive_are_not_replaced() -> None:
    shape = {"kind": "arrivals", "per_s": 0.5}
    settled = simulate(experiment({"duration_s": 100, "shape": shape}), ())
    planned = arrival_times(ArrivalsShape(per_s=0.5), 100.0, 1)
    rows = settled.rows.to_pylist()
    firsts = {
        name: next(group)["intended_s"]
        for name, group in itertools.groupby(
            sorted(rows, key=lambda row: (row["session"], row["turn"])), key=lambda row: row["session"]
        )
    }
    assert sorted(firsts.values()) == pytest.approx(planned)


@pytest.mark.parametrize(
    "load",
    [
        {"shape": {"kind": "schedule", "points": [[5, 1], [0, 2]]}},
        {"shape": {"kind": "arrivals", "per_s": 1}, "duration_s": None},
        {"search": {}, "shape": {"kind": "ramp", "over_s": 1}},
        {"search": {"agents_from": 10, "agents_max": 5}},
    ],
)
def test_a_load_that_makes_no_sense_is_refused(load: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"load|points|agents"):
        LoadConfig.model_validate(load)


@pytest.mark.parametrize(
    ("arrivals_s", "sessions_max", "expected"),
    [
        ((5.0, 9.0, 30.0), None, [0.0, 4.0, 25.0]),
        ((1.76e9, 1.76e9 + 3), None, [0.0, 3.0]),
        ((30.0, 5.0, 9.0), 2, [25.0, 0.0]),
        ((7.0,), None, [0.0]),
    ],
)
def test_recorded_sessions_arrive_from_the_first_one_on(
    arrivals_s: tuple[float, ...], sessions_max: int | None, expected: list[float]
) -> None:
    load = LoadConfig.model_validate(
        {"shape": {"kind": "recorded"}, "sessions_max": sessions_max, "agents": 1}
    )
    pacing = pacing_of(load, len(arrivals_s), 1, arrivals_s)
    assert [pacing.spans(slot)[0].start_s for slot in range(pacing.slots)] == expected
    assert pacing.session_index(0, 1) is None
    # A host whose share begins with a slot is there before any later slot needs one.
    assert [pacing.start_s(slot) for slot in range(pacing.slots)] == [
        min(expected[slot:]) for slot in range(pacing.slots)
    ]


def test_sessions_without_recorded_arrivals_cannot_arrive_as_recorded() -> None:
    load = LoadConfig.model_validate({"shape": {"kind": "recorded"}})
    with pytest.raises(ConfigError, match=r"the 2 sessions of .* state no arrivals"):
        pacing_of(load, 2, 1, (0.0, 0.0))
