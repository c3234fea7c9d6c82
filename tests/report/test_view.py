"""What a run's page adds up before it draws: sessions that stand out, waits, reasons of misses, ticks."""

import numpy as np
import pytest

from swarm.config.slo import ObjectiveConfig
from swarm.records.run_folder import RunFolder
from swarm.report.run.interesting import interesting
from swarm.report.run.lengths import TTFT_S_MIN, length_cells
from swarm.report.run.limits import _mean_open
from swarm.report.run.missed import missed, missed_told, worst_sessions
from swarm.report.run.requests import Requests
from swarm.report.run.session_rows import BARS_MAX, session_rows
from swarm.report.run.view import view_of
from swarm.report.theme import log_span_ticks, log_ticks, span_ticks


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
