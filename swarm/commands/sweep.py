"""`swarm simulate` of a sweep: one simulation a point; a failed point does not lose the others."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from swarm.cluster.tasks import in_tasks
from swarm.commands.live_page import page_beside
from swarm.commands.places import default_folder
from swarm.commands.simulate import simulate_into
from swarm.config.experiment import Experiment
from swarm.config.read import Point
from swarm.config.sweep import SweepConfig
from swarm.config.workload import ReplayConfig, Workload
from swarm.errors import UsageError
from swarm.records.origin import commit, versions
from swarm.records.run_folder import RunFolder, simulated_run_id
from swarm.report.live.course import Course
from swarm.report.live.points import Points
from swarm.report.notes import kinds
from swarm.report.sweep.comparison import SWEEP, draw_sweep, write_sweep
from swarm.report.sweep.points import PointResult, derived, unobserved
from swarm.workload.source import Material, load_scripts

POINTS = "points"
NAME_MAX = 120
Work = tuple[Experiment, Path]
Files = dict[str, bytes]
Ended = tuple[Path, Files, str | None]
READ = frozenset(
    {
        "kind",
        "path",
        "format",
        "on_broken",
        "sessions_max",
        "context_max",
        "context_min",
        "session_idle_cap_s",
        "context_scale",
        "subagents",
    }
)
"""What of a replay's keys decides which sessions are read."""
HOW_PLAYED = {
    name: field.get_default() for name, field in ReplayConfig.model_fields.items() if name not in READ
}
"""The other keys, at one value for all: how sessions are played does not change what is read."""


def run_sweep(
    experiment: Experiment,
    sweep: SweepConfig,
    points: list[Point],
    *,
    out: Path | None,
    jobs: int | None,
    shows_page: bool = False,
) -> int:
    """Simulate all points, `jobs` at once; return 0, or 1 if a point failed or is invalid.

    A folder that holds points of this very sweep is gone on with: what is there is not run again.
    """
    _read_once.cache_clear()
    folder = out if out is not None else default_folder(simulated_run_id(experiment))
    folders = [folder / POINTS / name_of(number, point) for number, point in enumerate(points)]
    _claim(folder)
    missing = [(p.experiment, at) for p, at in zip(points, folders, strict=True) if not _is_done(at, p)]
    if len(missing) < len(points):
        _tell(f"{len(points) - len(missing)} of {len(points)} points are there already")
    course = Course(folder)
    try:
        with page_beside(folder, wanted=shows_page):
            errors = _run_missing(missing, course, name=experiment.name, jobs=jobs)
    finally:
        course.close()
    results = [_result(point, at, errors.get(at), sweep) for point, at in zip(points, folders, strict=True)]
    write_sweep(folder, experiment, sweep, results)
    draw_sweep(folder, experiment, sweep, results)
    for figure in dict.fromkeys(chart.y for chart in sweep.charts_wanted):
        if (note := unobserved(results, figure)) is not None:
            _tell(f"not drawn: {note}")
    for note in kinds([result.summary for result in results]):
        _tell(f"note: {note}")
    print(folder.absolute(), flush=True)
    is_sound = all(result.summary is not None and result.summary["valid"] for result in results)
    return 0 if is_sound else 1


def _run_missing(missing: list[Work], course: Course, *, name: str, jobs: int | None) -> dict[Path, str]:
    """Simulate what is missing, and tell of each point; return what went wrong, by the point's folder."""
    errors: dict[Path, str] = {}
    course.tell("begin", name=name, mode="simulate")
    course.tell("point", done=0, total=len(missing), text=f"{len(missing)} points to simulate")
    with Points(name, len(missing), sys.stderr) as shown:
        for done, (at, files, error) in enumerate(_carry_out(missing, jobs), start=1):
            if error is None:
                _keep(at, files)
            else:
                errors[at] = error
            text = f"{done}/{len(missing)}  {at.name}  {'done' if error is None else f'FAILED: {error}'}"
            course.tell("point", done=done, total=len(missing), wall_s=shown.wall_s, text=text)
            shown.ended(text)
    return errors


def simulate_point(experiment: Experiment, made_with: dict[str, Any]) -> tuple[Files, str | None]:
    """Simulate one point, on whatever node; return its records by name, and what went wrong, or None."""
    with tempfile.TemporaryDirectory(prefix="swarm-point-") as name:
        try:
            simulate_into(experiment, RunFolder(Path(name)), made_with, _traces_of(experiment.workload))
        except Exception as fault:  # noqa: BLE001 - a point's failure, of whatever kind, is that point's result
            return {}, f"{type(fault).__name__}: {fault}"
        return {path.name: path.read_bytes() for path in sorted(Path(name).iterdir())}, None


def _traces_of(workload: Workload) -> Material | None:
    """Return a replay's sessions, read once for all points that play the same; None for other workloads."""
    if not isinstance(workload, ReplayConfig):
        return None
    return _read_once(workload.model_copy(update=HOW_PLAYED))


@lru_cache(maxsize=1)
def _read_once(workload: ReplayConfig) -> Material:
    return load_scripts(workload, 0, 0)


def name_of(number: int, point: Point) -> str:
    """Return the name of a point's folder: its number, its changes, its seed."""
    parts = [f"{key.rsplit('.', 1)[-1]}={label}" for key, label in point.labels.items()]
    text = "-".join([f"{number:04d}", *parts, f"seed={point.changes['seed']}"])
    return "".join(c if c.isalnum() or c in "=-._" else "_" for c in text)[:NAME_MAX]


def _carry_out(missing: list[Work], jobs: int | None) -> Iterator[Ended]:
    """Yield each point's folder, records and error as it ends; one at a time needs no Ray."""
    made_with = {"commit": commit(), "versions": versions()}
    if jobs == 1 or len(missing) <= 1:
        for experiment, at in missing:
            yield at, *simulate_point(experiment, made_with)
        return
    work = {at: (experiment, made_with) for experiment, at in missing}
    for at, points, lost in in_tasks(simulate_point, work, name="sweep", jobs=jobs):
        yield (at, *points) if points is not None else (at, {}, lost)


def _keep(at: Path, files: Files) -> None:
    """Write a point's records beside its folder and move them: a folder that is there is whole."""
    beside = at.with_name(f".{at.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, data in files.items():
        (beside / name).write_bytes(data)
    shutil.rmtree(at, ignore_errors=True)
    beside.rename(at)


def _result(point: Point, at: Path, error: str | None, sweep: SweepConfig) -> PointResult:
    summary = RunFolder(at).summary() if error is None else None
    return PointResult(
        name=at.name,
        changes=point.changes,
        labels=point.labels,
        summary=summary,
        derived={} if summary is None else derived(point.experiment, summary, sweep.economics),
        error=error,
    )


def _claim(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: a folder is expected, found a file")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / POINTS).is_dir():
        raise UsageError(f"--out {folder}: the folder holds files already, and they are not of a sweep")
    (folder / POINTS).mkdir(parents=True, exist_ok=True)
    (folder / SWEEP).unlink(missing_ok=True)


def _is_done(at: Path, point: Point) -> bool:
    if not (at / "summary.json").is_file():
        return False
    return bool(RunFolder(at).summary()["run_id"] == simulated_run_id(point.experiment))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
