"""A run that is told to stop: it ends within its drain time, and its folder is whole."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import orjson
import pyarrow.parquet
import pytest

DRAIN_S = 2
ENDING_S_MAX = 25
"""For the reports, the settling and the page; far more than they take, on a machine that others use."""


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_ends_a_run_with_a_usable_folder(swarm_run, number: int, expected: int) -> None:
    run = swarm_run(hosts__count=2, load__duration_s=300, load__drain_s=DRAIN_S)
    for host in range(2):
        run.wait_for_batches(host, 4)
    told_s = time.monotonic()
    os.kill(run.process.pid, number)
    code, text = run.end()
    assert code == expected, text
    assert time.monotonic() - told_s < DRAIN_S + ENDING_S_MAX
    summary = orjson.loads((run.out / "summary.json").read_bytes())
    requests = summary["requests"]
    parts = ("finished", "failed", "interrupted", "in_flight", "unaccounted")
    assert requests["sent"] == sum(requests[part] for part in parts) > 0
    table = pyarrow.parquet.read_table(run.out / "requests.parquet").to_pylist()
    assert len(table) == requests["sent"]
    # No turn is started once the run was told to stop.
    assert max(row["sent_s"] for row in table if row["sent_s"] is not None) < summary["duration_s"] + 1
    assert summary["duration_s"] < 100
    name = signal.Signals(number).name
    assert summary["notes"][0] == f"stopped by {name} at {summary['measured']['to_s']:.1f} of 300 s"
    assert (run.out / "report.html").stat().st_size > 0
    assert text.strip().splitlines()[-1] == str(run.out)


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_before_the_begin_ends_a_run_and_leaves_nothing(
    local_run, tmp_path: Path, number: int, expected: int
) -> None:
    run = local_run(tmp_path / "made" / "run", hosts__count=1)
    run.wait_until(run.out.exists)
    os.kill(run.process.pid, number)
    code, text = run.end()
    assert code == expected, text
    assert text == f"swarm: ended by {signal.Signals(number).name} before the run had begun\n"
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_sigterm_to_the_group_of_a_run_leaves_it_its_ray(local_run, tmp_path: Path) -> None:
    run = local_run(tmp_path / "run", hosts__count=1, load__duration_s=300, load__drain_s=DRAIN_S)
    run.wait_for_batches(0, 3)
    told_s = time.monotonic()
    os.killpg(run.process.pid, signal.SIGTERM)
    code, text = run.end()
    assert code == 143, text
    assert time.monotonic() - told_s < DRAIN_S + ENDING_S_MAX
    assert orjson.loads((run.out / "summary.json").read_bytes())["requests"]["unaccounted"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["last batch", "rows"])
def test_sigterm_after_the_load_leaves_the_results_whole(local_run, tmp_path: Path, moment: str) -> None:
    run = local_run(tmp_path / "run", hosts__count=1, load__duration_s=4, load__drain_s=DRAIN_S)
    run.wait_until(lambda: any(batch.is_last for batch in run.batches()))
    if moment == "rows":
        run.wait_until((run.out / "requests.parquet").exists)
    os.kill(run.process.pid, signal.SIGTERM)
    code, text = run.end()
    assert code == 143, text
    assert orjson.loads((run.out / "summary.json").read_bytes())["requests"]["unaccounted"] == 0
    assert (run.out / "report.html").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("process", ["gcs_server", "raylet", "ray::RemoteCoordinator"])
def test_sigterm_while_ray_starts_ends_a_run_and_leaves_nothing(
    local_run, tmp_path: Path, process: str
) -> None:
    run = local_run(tmp_path / "made" / "run", hosts__count=1)
    run.wait_until(lambda: run.has_ray(process))
    os.kill(run.process.pid, signal.SIGTERM)
    code, text = run.end()
    assert code == 143, text
    assert text.splitlines()[-1] == "swarm: ended by SIGTERM before the run had begun"
    assert not (tmp_path / "made").exists()
