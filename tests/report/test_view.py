"""What a run's page adds up before it draws: sessions that stand out, waits, reasons of misses, ticks."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from swarm.config.slo import ObjectiveConfig
from swarm.records.run_folder import RunFolder
from swarm.report.charts import picture, spec_of
from swarm.report.run.frames import over_time_of
from swarm.report.run.interesting import interesting
from swarm.report.run.lengths import TTFT_S_MIN, length_cells
from swarm.report.run.limits import _mean_open
from swarm.report.run.memories import memories, memories_told, memory_rows
from swarm.report.run.missed import missed, missed_told, worst_sessions
from swarm.report.run.replicas import replica_rows, replicas, replicas_told
from swarm.report.run.requests import Requests
from swarm.report.run.session_rows import BARS_MAX, session_rows
from swarm.report.run.timeline import timeline
from swarm.report.run.view import view_of
from swarm.report.theme import log_span_ticks, log_ticks, span_ticks
from swarm.units import GIB


@pytest.fixture(scope="module")
def requests(sample_run: RunFolder) -> Requests:
    return Requests.of(sample_run)


@pytest.mark.parametrize(
    ("most_s", "ticks"),
    [
        (4.2, [0, 1, 2, 3, 4]),
        (200, [0, 60, 120, 180]),
        (90, [0, 30, 60, 90]),
        (0.0031, [0, 0.001, 0.002, 0.003]),
    ],
)
def test_ticks_of_latencies_are_whole_amounts_of_their_unit(most_s: float, ticks: list[float]) -> None:
    assert span_ticks(most_s) == ticks


def test_ticks_of_a_logarithmic_axis_are_1_2_5_10_30_and_whole_minutes() -> None:
    assert log_span_ticks(0.9, 400) == [1, 2, 5, 10, 30, 60, 120, 300]
    assert log_ticks(15_000, 40_000) == [15_000, 20_000, 30_000, 40_000]


@pytest.mark.parametrize(
    ("least_s", "most_s", "ticks"),
    [
        (0.12, 0.18, [0.12, 0.18]),
        (0.8, 1.1, [0.8, 1.0, 1.1]),
        (0.0999, 0.1, [0.0999, 0.1]),
        (1.0, 1.0, [1.0]),
    ],
)
def test_a_narrow_axis_of_times_has_labels(least_s: float, most_s: float, ticks: list[float]) -> None:
    assert log_span_ticks(least_s, most_s) == ticks


def replica_table(*rows: tuple[float, str | None, int, int, float]) -> pa.Table:
    """Return windows of 1 s: start, endpoint, prompt tokens known and cached, open requests."""
    names = ("start_s", "endpoint", "known_prompt_tokens", "cached_tokens", "open_requests_mean")
    every = [dict(zip(names, row, strict=True)) | {"end_s": row[0] + 1.0, "finished": 1} for row in rows]
    return pa.Table.from_pylist(every)


def test_a_replica_that_idled_counts_in_the_mean_and_the_least() -> None:
    rows = replica_rows(
        replica_table((0.0, "a", 100, 0, 2.0), (1.0, "a", 100, 0, 4.0), (0.0, "b", 100, 0, 1.0))
    )
    assert rows.query("endpoint == 'b'")["open_requests"].tolist() == [1.0, 0.0]
    assert "Of 2 that had requests, a computed most: 2 times the mean" in replicas_told(
        rows, {"from_s": 1.0, "to_s": 2.0}
    )


def test_what_replicas_computed_is_not_told_where_nothing_is_known_of_their_caches() -> None:
    rows = replica_rows(replica_table((0.0, "a", 0, 0, 2.0), (0.0, "b", 0, 0, 1.0)))
    assert rows["computed"].isna().all()
    assert replicas_told(rows, {"from_s": 0.0, "to_s": 2.0}) == ""
    assert len(spec_of(replicas(rows, {"from_s": 0.0, "to_s": 2.0}))["vconcat"]) == 1


@pytest.mark.parametrize(
    ("held", "said"),
    [((10, 100, 100), "Full: dram from 2 s on."), ((100, 10, 100), "Full: dram at times, first 1 s in.")],
)
def test_a_tier_is_full_on_from_a_time_only_where_it_stays_full(held: tuple[int, ...], said: str) -> None:
    looks = [
        {"tier": "dram", "start_s": float(at), "end_s": at + 1.0, "capacity_bytes": 100, "held_bytes": bytes_,
         "used_bytes": 0, "read_bytes": 0, "written_bytes": 0, "dropped_bytes": 0}
        for at, bytes_ in enumerate(held)
    ]  # fmt: skip
    assert memories_told(memory_rows(pa.Table.from_pylist(looks))) == said


def test_dropped_writes_are_told_and_drawn_in_plain_gib() -> None:
    looks = pa.Table.from_pylist([
        {"tier": "dram", "start_s": float(at), "end_s": at + 1.0, "capacity_bytes": None, "held_bytes": at,
         "used_bytes": 0, "read_bytes": 0, "written_bytes": GIB // 5, "dropped_bytes": GIB}
        for at in range(3)
    ])  # fmt: skip
    rows = memory_rows(looks)
    assert memories_told(rows) == "Writes to dram: 3 GiB were dropped, 0.6 GiB ended."
    drawn = picture(memories(rows, pd.DataFrame(), {"from_s": 0.0, "to_s": 3.0}), title="", source="")
    assert not re.search(r">\d+m<", drawn) and ">0.2<" in drawn


def test_no_window_begins_before_the_run(sample_run: RunFolder) -> None:
    table = sample_run.windows()
    starts = table.column("start_s").to_numpy() - 30.0
    moved = table.set_column(table.schema.get_field_index("start_s"), "start_s", pa.array(starts))
    assert over_time_of(moved)["start_s"].min() >= 0.0


def test_the_slowest_session_comes_first_where_the_slo_was_missed(requests: Requests) -> None:
    frame = requests.table.to_pandas()
    frame["wait_s"] = frame["first_token_s"] - frame["intended_s"]
    sizes = frame.groupby("session")["turn"].size()
    means = frame.groupby("session")["wait_s"].mean()[sizes >= 3]
    assert interesting(requests, is_missed=True)[0].session == means.idxmax()
    failed = frame[frame["outcome"] == "failed"].groupby("session").size()
    assert failed[interesting(requests, is_missed=False)[0].session] == failed.max()


def test_a_timeline_has_no_more_bars_than_a_screen_can_show_and_each_agent_one_lane(
    requests: Requests,
) -> None:
    rows = session_rows(requests, interesting(requests, is_missed=True))
    assert rows.groupby("session").size().max() <= BARS_MAX
    assert (rows.groupby("agent")["lane_at"].nunique() <= 1).all()
    first = rows[rows["lane_at"] == 0]
    assert first["parent"].isna().all()


def test_a_timeline_without_a_finished_request_has_lanes_alone(requests: Requests) -> None:
    kept = Requests(requests.table.filter(requests.is_("outcome", "failed")))
    drawn = spec_of(timeline(session_rows(kept, interesting(kept, is_missed=True))))
    assert [len(part.get("vconcat", ())) for part in drawn["vconcat"]] == [1, 0]


def test_misses_are_those_that_the_summary_counts(sample_run: RunFolder, requests: Requests) -> None:
    objective = ObjectiveConfig(metric="effective_ttft_s", quantile=0.95, at_most=4.0)
    found = missed(requests, [objective])
    assert found is not None
    (told,) = [
        each for each in sample_run.summary()["slo"]["objectives"] if each["metric"] == objective.metric
    ]
    assert found.judged.sum() == told["count"]
    assert 1 - found.missed.sum() / found.judged.sum() == pytest.approx(told["good_share"])
    assert len(found.reasons) == found.missed.sum()
    assert sum(int(row[1]) for row in worst_sessions(requests, found)) <= found.missed.sum()


def test_a_run_in_which_nothing_failed_is_judged(requests: Requests) -> None:
    kept = Requests(requests.table.filter(requests.is_("outcome", "ok")))
    found = missed(kept, [ObjectiveConfig(metric="effective_ttft_s", quantile=0.95, at_most=0.1)])
    assert found is not None and found.missed.any()
    assert "missed an objective" in missed_told(kept, found)


def test_the_mean_of_open_waits_is_their_time_over_the_stretch() -> None:
    start, end = np.array([0.0, 1.0, 9.0]), np.array([2.0, 1.0, 12.0])
    assert _mean_open(start, end, np.array([0.0, 5.0, 10.0])).tolist() == pytest.approx([0.4, 0.2])


def test_a_run_of_no_requests_has_a_view(sample_run: RunFolder, tmp_path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    (folder.path / "run.yaml").write_bytes((sample_run.path / "run.yaml").read_bytes())
    folder.write_requests(sample_run.requests().slice(0, 0))
    folder.write_windows(sample_run.windows().slice(0, 0))
    folder.write_summary(sample_run.summary())
    view = view_of(folder)
    assert view.sessions.empty and view.lengths.empty and view.missed is None


def test_a_first_token_that_took_nothing_has_a_place_on_an_axis_by_decades(requests: Requests) -> None:
    table = requests.table
    at = table.schema.get_field_index("first_token_s")
    fast = Requests(table.set_column(at, "first_token_s", table["sent_s"]))
    cells = length_cells(fast)
    assert cells["requests"].sum() > 0 and (cells["ttft_s"] == TTFT_S_MIN).all()
