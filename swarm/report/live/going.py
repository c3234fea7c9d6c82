"""A run folder while something goes on in it: read beside the process that writes it, which is not asked.

Of a live run it reads the coordinator's journal, as far as that has got; of everything else the course.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.measure.series import series
from swarm.measure.slo import within_all
from swarm.measure.window import CHANGES, Windows, windows_of
from swarm.records.batch import Batch
from swarm.records.journal import frame_bytes, read_journal
from swarm.records.run_folder import REPORT, RUN, SUMMARY, RunFolder
from swarm.records.takeover import split
from swarm.report.live.course import CourseReader, is_dead
from swarm.report.live.doing import Doings
from swarm.report.run.frames import over_time_of

WINDOWS_MAX = 240
NOTES_MAX = 200
STEPS_MAX = 480
RECENT = 40
"""Windows of which a terminal shows sparklines."""


class Going:
    """What is known of a run, a simulation or a sweep that goes on in a folder."""

    def __init__(self, folder: Path, *, awaits: Callable[[], bool] = lambda: False) -> None:
        """`awaits` tells whether somebody is about to begin there, as long as nothing has begun."""
        self.folder = folder
        self._awaits = awaits
        self.course = CourseReader(folder)
        self.experiment: Experiment | None = None
        self.doings = Doings()
        self.notes: list[str] = []
        self.steps: list[dict[str, Any]] = []
        """Of a simulation: `wall_s`, `now_s`, `ended`, `open`."""
        self._begun: dict[str, Any] = {}
        self._points: dict[str, Any] = {}
        self._windows: Windows | None = None
        self._read_bytes: dict[Path, int] = {}
        self._gauges: dict[int, dict[int, Any]] = {}
        self._newest: dict[tuple[int, int], int] = {}
        """By host and epoch, the number of the last batch that was taken."""
        self._good = 0
        self._failures: dict[str, int] = {}
        self._was_there = False

    def read(self) -> None:
        """Take in what was written since the last call."""
        self._was_there |= self.course.is_there
        for said in self.course.read():
            self._heed(said)
        if self.experiment is None:
            self._open()
        if self.experiment is not None:
            for path in sorted(self.folder.glob("journal/coordinator-*.journal")):
                self._read_journal(path)

    @property
    def name(self) -> str:
        """What goes on, for a title."""
        return str(self._begun.get("name") or self.folder.name)

    @property
    def has_ended(self) -> bool:
        """Whether the results are there, and nobody writes any more."""
        is_done = (self.folder / SUMMARY).is_file() or (self.folder / "sweep.json").is_file()
        return is_done and self._is_over

    @property
    def is_gone(self) -> bool:
        """Whether it ended without results: what was there is not, or was never."""
        return self._is_over and not self.is_cut and not (self.folder / RUN).is_file() and not self.has_ended

    @property
    def is_cut(self) -> bool:
        """Whether its process was killed before the results were there."""
        return self.course.is_there and is_dead(self._begun) and not self.has_ended

    @property
    def advice(self) -> str:
        """What to do with something that was cut off; nothing where it was not."""
        if not self.is_cut:
            return ""
        again = f"swarm run --resume {self.folder}" if self._begun.get("mode") == "live" else "start it again"
        return f"It ended without a summary: its process is gone. To go on: {again}"

    @property
    def _is_over(self) -> bool:
        if self.course.is_there and is_dead(self._begun):
            return True
        return not self.course.is_there and (self._was_there or not self._awaits())

    @property
    def report(self) -> Path | None:
        """The page of its results, once that is there."""
        path = self.folder / REPORT
        return path if self.has_ended and path.is_file() else None

    @property
    def now_s(self) -> float:
        """The run's time that was last reported."""
        heard = [each.at_s for epochs in self._gauges.values() for each in epochs.values()]
        return max(heard, default=self.steps[-1]["now_s"] if self.steps else 0.0)

    def over_time(self) -> pd.DataFrame:
        """Return the windows that are over, as `frames.over_time` does."""
        if self._windows is None or not self._windows.cells:
            return pd.DataFrame()
        frame = over_time_of(series(self._windows))
        every_s = 1.0 if self.experiment is None else self.experiment.hosts.report_every_s
        return frame[frame["end_s"] <= max(self.now_s - every_s, self._windows.window_s)]

    def head(self, windows: pd.DataFrame) -> dict[str, Any]:
        """Return the state in figures, for a page's head and for a terminal."""
        gauges = [each for epochs in self._gauges.values() for each in epochs.values()]
        until_s = self._begun.get("until_s")
        if self.experiment is not None:
            until_s = self.experiment.load.duration_s
        found: dict[str, Any] = {
            "name": self.name,
            "mode": self._begun.get("mode", "live"),
            "folder": str(self.folder),
            "now_s": self.now_s,
            "until_s": until_s,
            "has_begun": bool(self._begun),
            "has_ended": self.has_ended,
            "is_gone": self.is_gone,
            "advice": self.advice,
            "has_report": self.report is not None,
            "can_stop": self.course.is_there and not self.is_cut,
            "hosts": len(self._gauges),
            "agents": sum("/" not in name for name in self.doings.agents),
            "subagents": sum("/" in name for name in self.doings.agents),
            "doing": self.doings.counts(),
            "sent": sum(each.sent for each in gauges),
            "open": sum(each.open_requests for each in gauges),
            "ended": sum(each.ended for each in gauges),
            "failed": sum(each.failed for each in gauges),
            "good": self._good,
            "failures": self._failures,
            "required": self._required(),
            "slo": [] if self.experiment is None else [each.told for each in self.experiment.slo],
            "points": self._points,
            "recent": _recent(windows),
        }
        if self.steps:
            found |= {"ended": self.steps[-1]["ended"], "open": self.steps[-1]["open"]}
            found["wall_s"] = self.steps[-1]["wall_s"]
        return found

    def _required(self) -> float | None:
        if self.experiment is None or not self.experiment.slo:
            return None
        return max(each.quantile for each in self.experiment.slo)

    def _heed(self, said: dict[str, Any]) -> None:
        match said["kind"]:
            case "begin":
                self._begun |= said
            case "note" | "level":
                self.notes = [*self.notes, str(said.get("text", ""))][-NOTES_MAX:]
            case "step":
                self.steps.append(said)
                if len(self.steps) > STEPS_MAX:
                    self.steps = self.steps[::2]
            case "point":
                self._points = said
                self.notes = [*self.notes, str(said.get("text", ""))][-NOTES_MAX:]

    def _open(self) -> None:
        if not (self.folder / RUN).is_file() or not (self.folder / "journal").is_dir():
            return
        data = RunFolder(self.folder).run()
        self.experiment = validate(Experiment, data["experiment"], f"{self.folder / RUN}: experiment")
        self._begun = {"name": self.experiment.name, "mode": data.get("mode", "live"), **self._begun}
        self._windows = windows_of(self.experiment)

    def _read_journal(self, path: Path) -> None:
        assert self.experiment is not None
        assert self._windows is not None
        for message in read_journal(path, start=self._read_bytes.get(path, 0)):
            self._read_bytes[path] = self._read_bytes.get(path, 0) + frame_bytes(message)
            batch = Batch.of_frame(message)
            if batch.sequence <= self._newest.get((batch.host, batch.epoch), -1):
                continue
            self._newest[batch.host, batch.epoch] = batch.sequence
            rows = split(batch)[0]
            self._windows.add(rows)
            self.doings.take(batch)
            for step in batch.agents:
                note = self._windows.agent_started if step.change > 0 else self._windows.agent_ended
                note(step.at_s, host=batch.host, is_subagent=not step.is_orchestrator)
            self._gauges.setdefault(batch.host, {})[batch.epoch] = batch.gauges
            if self.experiment.slo and rows.num_rows:
                is_ok = rows.column("outcome").to_pandas() == "ok"
                self._good += int((is_ok.to_numpy() & within_all(self.experiment.slo, rows)).sum())
            for kind, count in batch.failures:
                self._failures[kind] = self._failures.get(kind, 0) + count
        self._windows = thinned(self._windows)


def thinned(windows: Windows) -> Windows:
    """Return the windows of all hosts and endpoints as one, joined by twos until few enough are left."""
    joined = _joined(windows, 1)
    while len({index for index, _, _ in joined.cells}) > WINDOWS_MAX:
        joined = _joined(joined, 2)
    return joined


def _joined(windows: Windows, by: int) -> Windows:
    """Return windows `by` (1 or 2) times as long; the moment of a level's change counts the time after it."""
    found = Windows(window_s=windows.window_s * by, origin_s=0.0)
    found.origin_s = windows.origin_s
    for (index, _, _), cell in windows.cells.items():
        into = found.cell((index // by, 0, ""))
        after_s = (by - 1 - index % by) * windows.window_s
        into.merge(cell)
        for at in range(0, len(CHANGES), 2):
            into.changes[at + 1] += cell.changes[at] * after_s
    return found


def _recent(windows: pd.DataFrame) -> dict[str, list[float | None]]:
    """Return the last windows' figures, for sparklines."""
    names = {
        "finished_per_s": "requests_per_s",
        "effective_ttft_p95_s": "effective_ttft_s_p95",
        "tpot_p95_s": "tpot_s_p95",
        "hit_rate": "hit_rate",
        "output_per_s": "output_tokens_per_s",
        "send_lag_p95_s": "send_lag_s_p95",
    }
    tail = windows.tail(RECENT)
    return {
        name: [None if pd.isna(value) else float(value) for value in tail[column]] if column in tail else []
        for name, column in names.items()
    }
