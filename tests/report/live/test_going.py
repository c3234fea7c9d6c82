"""A folder in which something goes on, as whoever looks from beside reads it."""

from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest

from swarm.measure.series import series
from swarm.measure.window import windows_of
from swarm.records.run_folder import RunFolder
from swarm.report.live import course as courses
from swarm.report.live.course import Course, CourseReader
from swarm.report.live.doing import DOING, HISTORY_MAX, SHOWN_MAX
from swarm.report.live.going import NOTES_MAX, STEPS_MAX, WINDOWS_MAX, Going
from swarm.report.run.frames import over_time_of


def test_a_run_is_followed_as_far_as_it_was_told(going_run) -> None:
    going = Going(going_run.path)
    going.read()
    assert going.head(going.over_time())["sent"] == 0
    going_run.until(300.0)
    going.read()
    head = going.head(going.over_time())
    completed = going_run.rows.column("completed_s").to_numpy()
    sent = going_run.rows.column("sent_s").to_numpy()
    assert head["ended"] == (completed <= 300.0).sum()
    assert head["open"] == ((sent <= 300.0) & (completed > 300.0)).sum()
    assert (head["agents"], head["now_s"], head["until_s"]) == (20, 300.0, 900.0)
    assert sum(head["doing"].values()) == head["agents"] + head["subagents"]
    assert head["doing"]["asks the model"] + head["doing"]["compacts"] == head["open"]


def test_windows_that_are_over_are_those_of_the_results(going_run) -> None:
    going = Going(going_run.path)
    for until_s in (300.0, 930.0):
        going_run.until(until_s)
        going.read()
    windows = windows_of(going.experiment)
    windows.add(going_run.rows)
    seen, whole = going.over_time(), over_time_of(series(windows))
    both = pd.merge(seen, whole, on=["start_s", "end_s"])
    assert len(both) >= len(whole) - 1 > 200
    for name in ("requests_per_s", "hit_rate", "effective_ttft_s_p95", "tpot_s_p50"):
        assert np.allclose(both[f"{name}_x"], both[f"{name}_y"], equal_nan=True), name


def test_a_batch_that_stands_in_two_journals_is_counted_once(going_run) -> None:
    going_run.until(300.0)
    (journal,) = (going_run.path / "journal").iterdir()
    journal.with_name("coordinator-1.journal").write_bytes(journal.read_bytes())
    going = Going(going_run.path)
    going.read()
    windows = going.over_time()
    completed = going_run.rows.column("completed_s").to_numpy()
    told_s = float(windows["end_s"].max())
    seen = (windows["requests_per_s"] * (windows["end_s"] - windows["start_s"])).sum()
    finished = (going_run.rows.column("outcome").to_pandas() == "ok").to_numpy()
    assert round(seen) == (finished & (completed < told_s)).sum()


def test_a_run_that_is_over_has_a_report_and_one_that_vanished_is_gone(
    going_run, sample_run: RunFolder, tmp_path: Path
) -> None:
    going = Going(going_run.path)
    going.read()
    assert not going.has_ended and not going.is_gone and going.report is None
    going_run.end(sample_run)
    going.read()
    assert going.has_ended and going.report == going_run.path / "report.html"
    (tmp_path / "empty").mkdir()
    assert Going(tmp_path / "empty").is_gone


def test_what_is_about_to_begin_is_waited_for(tmp_path: Path) -> None:
    is_alive = True
    going = Going(tmp_path, awaits=lambda: is_alive)
    (tmp_path / "summary.json").touch()  # Of a run that is gone on with.
    going.read()
    assert not going.is_gone and not going.has_ended
    course = Course(tmp_path)
    course.tell("begin", name="x", mode="live")
    going.read()
    assert not going.has_ended
    course.close()
    assert going.has_ended
    (tmp_path / "summary.json").unlink()
    assert going.is_gone
    is_alive = False
    assert Going(tmp_path, awaits=lambda: is_alive).is_gone


def test_all_that_is_kept_of_a_long_run_is_bounded(tmp_path: Path) -> None:
    course = Course(tmp_path)
    course.tell("begin", name="long", mode="simulate", until_s=1e6)
    for at in range(5000):
        course.tell("step", now_s=float(at), ended=at, open=1, wall_s=at / 2)
        course.tell("note", text=f"note {at}")
    going = Going(tmp_path)
    going.read()
    assert len(going.steps) <= STEPS_MAX and len(going.notes) <= NOTES_MAX
    assert (going.steps[-1]["now_s"], going.notes[-1]) == (4999.0, "note 4999")


def test_windows_are_joined_until_few_are_left(going_run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.report.live.going.WINDOWS_MAX", 20)
    going = Going(going_run.path)
    for until_s in range(30, 931, 30):
        going_run.until(float(until_s))
        going.read()
    windows = going.over_time()
    assert len(windows) <= 20 < WINDOWS_MAX
    finished = (going_run.rows.column("outcome").to_pandas() == "ok").sum()
    seen = (windows["requests_per_s"] * (windows["end_s"] - windows["start_s"])).sum()
    assert seen == pytest.approx(finished, rel=0.1)
    assert windows["live_orchestrators"].max() == pytest.approx(20.0)


def test_the_agents_that_are_listed_and_their_history_are_bounded(going_run) -> None:
    going = Going(going_run.path)
    going_run.until(600.0)
    going.read()
    listed = going.doings.listed(going.now_s)
    assert 0 < len(listed) <= SHOWN_MAX
    assert {each["does"] for each in listed} <= set(DOING)
    assert all(each["for_s"] >= 0 for each in listed)
    for at in range(2000):
        going.doings._note(1000.0 + at)
    assert len(going.doings.history) <= HISTORY_MAX


def test_half_a_line_is_left_for_the_next_look_and_a_broken_one_is_passed_over(tmp_path: Path) -> None:
    reader = CourseReader(tmp_path)
    path = tmp_path / courses.COURSE
    path.write_bytes(b'{"kind":"note","te')
    assert reader.read() == []
    with path.open("ab") as file:
        file.write(b'xt":"one"}\nnothing\n[1]\n')
    assert reader.read() == [{"kind": "note", "text": "one"}]


def test_a_stop_that_was_asked_of_an_earlier_run_stops_no_later_one(tmp_path: Path) -> None:
    (tmp_path / courses.STOP).touch()
    course = Course(tmp_path)
    course.tell("begin", name="x", mode="live")
    assert not course.is_stop_asked
    assert CourseReader(tmp_path).ask_stop() and course.is_stop_asked
    course.close()
    assert sorted(tmp_path.iterdir()) == []
    assert not CourseReader(tmp_path).ask_stop()


def test_a_disk_that_refuses_costs_a_line_and_nothing_else(tmp_path: Path) -> None:
    course = Course(tmp_path / "absent")
    course.tell("note", text="lost")
    assert not course.is_stop_asked
    course.close()


def test_a_long_word_makes_no_longer_line_than_the_bound(tmp_path: Path) -> None:
    course = Course(tmp_path)
    course.tell("note", text="x" * (2 * courses.LINE_BYTES_MAX))
    course.tell("note", text="after")
    (line, after) = (tmp_path / courses.COURSE).read_bytes().splitlines()
    assert len(line) == courses.LINE_BYTES_MAX and orjson.loads(after)["text"] == "after"
