"""A live run that goes on: its folder as the coordinator has written it up to some time."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from swarm.records.batch import AgentStep, Batch, FailureExample, Gauges
from swarm.records.journal import Journal
from swarm.records.rows import to_message
from swarm.records.run_folder import RunFolder
from swarm.report.live.course import Course

EVERY_S = 30.0


class GoingRun:
    """A run folder that is written further when it is asked to: what `until` says has happened."""

    def __init__(self, made: RunFolder, path: Path) -> None:
        self.path = path
        (path / "journal").mkdir(parents=True)
        shutil.copy(made.path / "run.yaml", path / "run.yaml")
        self.rows = made.requests()
        self.course = Course(path)
        self.course.tell("begin", name="sample", mode="live", until_s=900.0)
        self.journal = Journal(path / "journal" / "coordinator-0.journal")
        self._told_s = 0.0
        self._sequence = 0

    def until(self, end_s: float) -> None:
        """Write what the host reported up to then."""
        steps = [self._told_s + EVERY_S * at for at in range(int((end_s - self._told_s) / EVERY_S) + 1)]
        for from_s, to_s in pairwise(steps):
            self.journal.append(self._batch(from_s, to_s).frame())
        self._told_s = steps[-1]

    def end(self, made: RunFolder) -> None:
        """Write the results, and stop telling."""
        for name in ("summary.json", "requests.parquet", "windows.parquet"):
            shutil.copy(made.path / name, self.path / name)
        (self.path / "report.html").write_text("<!doctype html><title>the report</title>", encoding="utf-8")
        self.journal.close()
        self.course.close()

    def _batch(self, from_s: float, to_s: float) -> Batch:
        completed = self.rows.column("completed_s")
        ended = self.rows.filter(pc.and_(pc.greater(completed, from_s), pc.less_equal(completed, to_s)))
        sent = self.rows.column("sent_s")
        opened = self.rows.filter(
            pc.and_(pc.and_(pc.greater(sent, from_s), pc.less_equal(sent, to_s)), pc.greater(completed, to_s))
        )
        open_count = self.rows.filter(
            pc.and_(pc.less_equal(sent, to_s), pc.greater(completed, to_s))
        ).num_rows
        done = self.rows.filter(pc.less_equal(completed, to_s))
        failed = int(pc.sum(pc.equal(done.column("outcome"), "failed")).as_py() or 0)
        self._sequence += 1
        return Batch(
            host=0, epoch=0, sequence=self._sequence, is_last=False,
            rows=to_message(pa.concat_tables([ended, opened])), open_rows=opened.num_rows,
            windows=b"", places=(), agents=tuple(self._steps(from_s, to_s)), itl=b"", loop_lag=b"",
            gauges=Gauges(
                to_s, 20, 0, open_count, done.num_rows + open_count, 1.0, None, 0.0,
                ended=done.num_rows, failed=failed,
            ),
            sessions_ended=(), follows=(), faults=(),
            examples=(FailureExample("http_429", 429, "slow down"),),
            failures=(("http_429", int(pc.sum(pc.equal(ended.column("outcome"), "failed")).as_py() or 0)),),
        )  # fmt: skip

    def _steps(self, from_s: float, to_s: float) -> list[AgentStep]:
        frame = self.rows.select(["agent", "intended_s", "completed_s"]).to_pandas()
        found = []
        for agent, part in frame.groupby("agent"):
            is_first = "/" not in str(agent)
            first_s, last_s = float(part["intended_s"].min()), float(part["completed_s"].max())
            if from_s < first_s <= to_s or (first_s == 0.0 == from_s):
                found.append(AgentStep(first_s, 1, is_first, str(agent), False))
            if from_s < last_s <= to_s:
                found.append(AgentStep(last_s, -1, is_first, str(agent), True))
        return sorted(found, key=lambda step: step.at_s)


@pytest.fixture
def going_run(sample_run: RunFolder, tmp_path: Path) -> GoingRun:
    """A run of 900 s, of which nothing is told yet."""
    return GoingRun(sample_run, tmp_path / "going")
