"""The search as a program: which effects it yields, against a world that carries a known number of agents."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from scripted_levels import ended_row

from swarm.config.experiment import Experiment
from swarm.load.search_program import (
    READINGS,
    EmptyCaches,
    SearchEffect,
    Seen,
    SetLevel,
    WatchLevel,
    search_of,
    search_program,
)
from swarm.records.rows import batch_of

RAMP_S = 10.0


def experiment(duration_s: float | None = None, **search: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "scripted",
            "workload": {"kind": "synthetic"},
            "load": {
                "ramp_s": RAMP_S,
                "duration_s": duration_s,
                "search": {
                    "agents_from": 4,
                    "hold_min_s": 60,
                    "hold_max_s": 60,
                    "confirmations": 1,
                    **search,
                },
            },
            "slo": [{"metric": "ttft_s", "quantile": 0.9, "at_most": 1.0}],
        }
    )


def seen(watch: WatchLevel, ttft_s: float) -> Seen:
    """Return what requests, a thousand of them alike, say."""
    length_s = (watch.to_s - watch.from_s) / 1000
    rows = [ended_row(watch.from_s + length_s * number, ttft_s) for number in range(1000)]
    return Seen(pa.Table.from_batches([batch_of(rows)]), ())


def effects_of(
    config: Experiment, *, carries: int, slots: int = 64
) -> tuple[list[SearchEffect], dict[str, Any]]:
    """Return what a search asks of a world in which things take no time, and its answer."""
    search = search_of(config)
    program = search_program(search, config, slots=slots)
    effects: list[SearchEffect] = []
    now_s, playing = 0.0, 0
    answer: Any = None
    while True:
        try:
            effect = program.send(answer)
        except StopIteration:
            return effects, search.answer()
        effects.append(effect)
        match effect:
            case SetLevel():
                playing, answer = effect.agents, now_s
            case EmptyCaches():
                answer = now_s
            case WatchLevel():
                now_s, answer = effect.to_s, seen(effect, 0.5 if playing <= carries else 2.0)


def test_a_level_is_set_and_the_second_half_of_its_hold_is_watched() -> None:
    effects, answer = effects_of(experiment(agents_max=4), carries=9)
    assert effects == [SetLevel(4, 0, RAMP_S), WatchLevel(RAMP_S + 30, RAMP_S + 60)]
    assert (answer["agents_low"], answer["agents_high"], answer["is_complete"]) == (4, None, True)


def test_a_level_with_fewer_agents_begins_at_once() -> None:
    effects, _ = effects_of(experiment(), carries=3)
    to_s = RAMP_S + 60
    assert effects[:4] == [
        SetLevel(4, 0, RAMP_S),
        WatchLevel(to_s - 30, to_s),
        SetLevel(2, 4, RAMP_S),
        WatchLevel(to_s + 30, to_s + 60),
    ]


def test_a_cold_search_empties_the_caches_between_levels_and_starts_all_sessions_again() -> None:
    effects, answer = effects_of(experiment(cache="cold"), carries=5)
    placed = [effect for effect in effects if not isinstance(effect, WatchLevel)]
    assert placed == [
        SetLevel(4, 0, RAMP_S), EmptyCaches(4), SetLevel(8, 0, RAMP_S), EmptyCaches(8),
        SetLevel(6, 0, RAMP_S), EmptyCaches(6), SetLevel(5, 0, RAMP_S),
    ]  # fmt: skip
    assert (answer["agents_low"], answer["agents_high"]) == (5, 5)


def test_no_more_sessions_play_than_there_are_slots() -> None:
    effects, _ = effects_of(experiment(agents_max=8), carries=9, slots=5)
    assert [effect.agents for effect in effects if isinstance(effect, SetLevel)] == [4, 5]


@pytest.mark.parametrize(("duration_s", "levels"), [(69.0, 0), (70.0, 1), (139.0, 1), (140.0, 2)])
def test_a_search_ends_where_the_load_leaves_no_time_for_a_check(duration_s: float, levels: int) -> None:
    _, answer = effects_of(experiment(duration_s), carries=9)
    assert len(answer["levels"]) == levels
    assert not answer["is_complete"]


def test_added_sessions_are_spread_over_the_ramp_and_readings_over_the_watch() -> None:
    level, watch = SetLevel(6, 2, 8.0), WatchLevel(30.0, 50.0)
    assert [level.start_s(slot, 100.0) for slot in range(2, 6)] == [100.0, 102.0, 104.0, 106.0]
    assert (level.begun_s(100.0), SetLevel(2, 6, 8.0).begun_s(100.0)) == (108.0, 100.0)
    assert [watch.reading_s(number) for number in (1, READINGS)] == [31.0, 50.0]
