"""`swarm run`: from an experiment, or from what a run left, to a run folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swarm.cluster.job import is_job, stop_drain_s
from swarm.cluster.launcher import RayLauncher
from swarm.cluster.metrics import Metrics
from swarm.cluster.session import ray_session
from swarm.commands.earlier_hosts import wait_for_earlier_hosts
from swarm.commands.live_page import page_beside
from swarm.commands.places import default_folder, staging_folder
from swarm.commands.planned_load import check_load
from swarm.commands.run_end import end_of, keep_end
from swarm.commands.unbegun import record_unbegun
from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.config.workload import ReplayConfig
from swarm.errors import ConfigError, Interrupted, RunError, TargetError, UsageError
from swarm.interrupts import Interrupts
from swarm.live.clock import SystemClock
from swarm.live.coordinator import Snapshot
from swarm.live.driver.drive import drive
from swarm.live.driver.driver import RunEnd
from swarm.live.driver.fitting import looked_at
from swarm.live.driver.placement import fleet_shares
from swarm.live.driver.recovered import Recovered, recover
from swarm.live.preflight import Tried, tried
from swarm.live.targets.usable import check_target
from swarm.live.targets.watched import SeriesWatch
from swarm.load.purse import most_cost
from swarm.measure.results import results_of
from swarm.measure.totals import facts_of
from swarm.records import unstored
from swarm.records.journal import read_batches
from swarm.records.origin import command, origin_of
from swarm.records.run_folder import RUN, RunFolder
from swarm.records.writer_lock import sole_writer
from swarm.report.live.course import Course
from swarm.report.live.running import Live
from swarm.report.live.screen_beside import can_be_shown, screen_beside
from swarm.urls import check_writable, fetched, is_url, upload, url_of
from swarm.workload.source import left_out, load_scripts


def run_live(
    experiment: Experiment,
    out: str | None,
    *,
    known: Tried | None = None,
    beside: Mapping[str, str] | None = None,
    shows_page: bool = False,
    only_lines: bool = False,
) -> int:
    """Carry out an experiment; return the exit code.

    `known` is what a look at its target has found; texts `beside` are written into the run folder, by name.
    With `shows_page` a page in another process shows how it goes on. On a terminal it is shown as a view,
    unless `only_lines` are wanted.
    """
    _check_skips(experiment)
    check_target(experiment.target)
    started = datetime.now(UTC)
    # To the millisecond: the id enters every prompt, and two runs at once must not warm each other's caches.
    run_id = f"{experiment.name}-{started:%Y%m%dT%H%M%S}{started.microsecond // 1000:03d}"
    url = None
    if out is not None and is_url(out):
        url, out = url_of(out), None
        check_writable(url)
    with Interrupts() as interrupts:
        folder = RunFolder.create(_place_of(run_id, out, url))
        server: dict[str, Any] | None = None

        def begin() -> None:
            origin = origin_of(run_id=run_id, mode="live", seed=experiment.seed, by_command=command())
            unstored.set_aside(folder.journals)
            folder.write_run(
                experiment, {**origin, "started": started.isoformat(), "out": url, "server": server}
            )
            if is_job(os.environ):
                # A job that is killed can be gone on with where this is.
                print(f"swarm: run folder: {folder.path.absolute()}", file=sys.stderr, flush=True)
            for name, text in (beside or {}).items():
                folder.write_text(name, text)

        try:
            with interrupts.at_once():
                experiment, server = looked_at(experiment)
            with sole_writer(folder.journals), page_beside(folder.path, wanted=shows_page):
                code = _carry_out(
                    experiment, folder, interrupts, begin,
                    run_id=run_id, recovered=None, known=known, only_lines=only_lines,
                )  # fmt: skip
        except TargetError as fault:
            record_unbegun(folder, experiment, fault, run_id=run_id, started=started, out=url)
            print(folder.path.absolute(), file=sys.stdout, flush=True)
            if url is not None:
                _send(folder, url, interrupts)
            raise
        finally:
            folder.discard_unbegun()
        if url is not None:
            _send(folder, url, interrupts)
    return interrupts.code(code)


def _check_skips(experiment: Experiment) -> None:
    """Refuse to skip idle time where one host alone does not know that all is idle."""
    workload, hosts = experiment.workload, experiment.hosts
    if not isinstance(workload, ReplayConfig) or workload.system_idle_cap_s is None:
        return
    stated = [
        f"hosts.{key}: {'null' if found is None else found}"
        for key, found, wanted in (
            ("count", hosts.count, 1),
            ("agents_per_host", hosts.agents_per_host, None),
            ("subagents", hosts.subagents, "with_parent"),
        )
        if found != wanted
    ]
    if stated:
        raise ConfigError(
            f"workload.system_idle_cap_s: {workload.system_idle_cap_s:g} with {' and '.join(stated)}: a live "
            "run skips idle time on one host alone; set hosts.count to 1, hosts.agents_per_host to null and "
            "hosts.subagents to with_parent, or the cap to null; idle_cap_s and session_idle_cap_s, which "
            "bound waits of their own, work on any number of hosts"
        )


def resume_live(path: Path, *, shows_page: bool = False, only_lines: bool = False) -> int:
    """Go on with a run that was cut off, from its journals; return the exit code."""
    if not (path / RUN).is_file():
        raise UsageError(f"--resume {path}: not a run folder: it has no {RUN}")
    folder = RunFolder(path)
    data = folder.run()
    if data.get("mode") != "live":
        raise UsageError(
            f"--resume {path}: only live runs can be gone on with; this one is {data.get('mode')!r}"
        )
    if data.get("begun") is False:
        raise UsageError(
            f"--resume {path}: this run never began, as its target could not be used; start it anew, into "
            "the same folder if you like"
        )
    absent = [key for key in ("run_id", "experiment") if key not in data]
    if absent:
        raise UsageError(f"--resume {path}: {RUN} is damaged: it has no {' and no '.join(absent)}")
    experiment = validate(Experiment, data["experiment"], f"{path / RUN}: experiment")
    check_target(experiment.target)
    page = page_beside(folder.path, wanted=shows_page)
    with Interrupts() as interrupts, sole_writer(folder.journals), page:
        wait_for_earlier_hosts(folder.journals, interrupts.heed)
        unstored.bring_in(unstored.places(folder.path, data["run_id"]))
        code = _carry_out(
            experiment,
            folder,
            interrupts,
            lambda: None,
            run_id=data["run_id"],
            recovered=recover(folder.journals),
            known=None,
            only_lines=only_lines,
        )
        if data.get("out") is not None:
            _send(folder, data["out"], interrupts)
    return interrupts.code(code)


def _place_of(run_id: str, out: str | None, url: str | None) -> Path:
    """Return where the run folder is made, to be sent to a URL or not."""
    if url is not None:
        return staging_folder(run_id)
    return default_folder(run_id) if out is None else Path(out)


def _carry_out(
    experiment: Experiment,
    folder: RunFolder,
    interrupts: Interrupts,
    begin: Callable[[], None],
    *,
    run_id: str,
    recovered: Recovered | None,
    known: Tried | None,
    only_lines: bool,
) -> int:
    # Ray is left when the results are there: its end lets a SIGTERM through that ends the process at once.
    with ExitStack() as ray, closing(Course(folder.path)) as course:
        end = _driven(
            experiment, folder, interrupts, begin,
            ray=ray, run_id=run_id, recovered=recovered, known=known, course=course, only_lines=only_lines,
        )  # fmt: skip
        faults = (*end.faults, *keep_end(folder, run_id, end))
        faults += () if recovered is None else recovered.lost()
        settled = results_of(
            read_batches(sorted(folder.journals.glob("*.journal")), unstored=end.unstored),
            experiment,
            ended_s=end.at_s,
            faults=faults,
            counters=end.counters,
            sessions_asked_mean=end.sessions_asked_mean,
            clock_offsets_s=end.clock_offsets_s,
            capacity=end.capacity,
            warnings=end.warnings,
            busy=end.busy,
            server=end.server,
        )
        folder.add_notes(list(end.notes))
        # What shows results takes as long to import as a host to start: none of it is needed before.
        from swarm.commands.ending import finish

        facts = facts_of(experiment, run_id=run_id, mode="live", is_emulated=not experiment.target.urls)
        try:
            code = finish(
                folder,
                experiment,
                facts,
                settled,
                signal_number=interrupts.received,
                is_asked=interrupts.is_asked,
            )
        except OSError as fault:
            there = ", ".join(folder.made()) or "none of them"
            raise RunError(
                f"{folder.path}: the results cannot be written: {fault.strerror or fault}; of them there is: "
                f"{there}; the journals are there: make room, then swarm run --resume {folder.path}"
            ) from None
    return code


def _driven(
    experiment: Experiment,
    folder: RunFolder,
    interrupts: Interrupts,
    begin: Callable[[], None],
    *,
    ray: ExitStack,
    run_id: str,
    recovered: Recovered | None,
    known: Tried | None,
    course: Course,
    only_lines: bool,
) -> RunEnd:
    """Return how the load ended; of a run that is only added up, how it had. `ray` leaves Ray."""
    if recovered is not None:
        ended = end_of(folder, experiment, recovered)
        if ended is not None:
            return ended
    with interrupts.at_once():
        local = _with_local_traces(experiment)
        scripts = load_scripts(local.workload, experiment.seed, experiment.load.agents)
        check_load(local, scripts)
    check_placed(experiment)
    interrupts.heed()
    if experiment.target.urls and known is None:
        known = tried(experiment.target, heed=interrupts.heed, note=_say)
    aimed = experiment if known is None else _aimed(experiment, known)

    def begin_with_scripts() -> None:
        begin()
        folder.add_notes([*left_out(experiment, scripts), *([] if known is None else known.told())])
        course.tell("begin", name=experiment.name, mode="live", until_s=experiment.load.duration_s)
        watching.start()

    try:
        ray.enter_context(ray_session(name=run_id))
    finally:
        # Where Ray did not start after a signal, it is the signal that ended the run.
        interrupts.heed()
    watching = SeriesWatch(experiment.target.watched, SystemClock(), every_s=experiment.window_s)
    is_screen = not only_lines and can_be_shown()
    with (
        screen_beside(folder.path, wanted=is_screen) as is_there,
        Live(experiment, only_lines=only_lines or is_screen, elsewhere=is_there) as live,
    ):
        ray.callback(watching.end)
        end = drive(
            aimed,
            scripts,
            folder.journals.resolve(),
            RayLauncher(run_id),
            begin=begin_with_scripts,
            interrupts=interrupts,
            progress=Watched(live, Metrics(experiment, run_id), course, interrupts),
            recovered=recovered,
            run_id=run_id,
            stop_drain_s=stop_drain_s(os.environ),
        )
    keep_watched(folder, watching, end)
    return end


def _aimed(experiment: Experiment, known: Tried) -> Experiment:
    """Return the experiment at a target that was tried; what that took is off its budget."""
    changed = {"target": known.target}
    budget = experiment.load.budget
    if budget is None:
        return experiment.model_copy(update=changed)
    left: dict[str, Any] = {}
    if budget.tokens_max is not None:
        left["tokens_max"] = max(1, budget.tokens_max - known.prompt_tokens - known.requests)
    if budget.cost_max is not None:
        took = most_cost(budget.prices, known.prompt_tokens, known.requests)
        left["cost_max"] = max(1e-12, budget.cost_max - took)
    load = experiment.load.model_copy(update={"budget": budget.model_copy(update=left)})
    return experiment.model_copy(update={**changed, "load": load})


def check_placed(experiment: Experiment) -> None:
    """Look at the emulated fleet, which needs neither Ray nor a network.

    Raises:
        ConfigError: It cannot be.
    """
    if not experiment.target.urls:
        from swarm.fleet.build import build_fleet

        build_fleet(experiment.fleet)
        fleet_shares(experiment.fleet, experiment.hosts.provider_fronts)


def keep_watched(folder: RunFolder, watching: SeriesWatch, end: RunEnd) -> None:
    """Write what was read of watched metrics; a disk that refuses it costs no result."""
    read = watching.stop(end.start_unix_s)
    try:
        if read.num_rows:
            folder.write_watched(read)
        folder.add_notes(watching.told())
    except OSError as fault:
        _say(f"swarm: what was read of watched metrics is not kept: {fault.strerror or fault}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Watched:
    """A run shown on the terminal, in Ray's metrics, and to whoever watches its folder."""

    live: Live
    metrics: Metrics
    course: Course
    interrupts: Interrupts

    def show(self, snapshot: Snapshot) -> None:
        """Show the run's state as last reported."""
        self.live.show(snapshot)
        self.metrics.show(snapshot)
        if self.course.is_stop_asked:
            self.interrupts.ask()

    def note(self, text: str) -> None:
        """Show that something happened."""
        self.live.note(text)
        self.course.tell("note", text=text)


def _send(folder: RunFolder, url: str, interrupts: Interrupts) -> None:
    try:
        with interrupts.at_once():
            upload(folder.path, url)
    except Interrupted:
        _say(f"swarm: --out {url}: a signal ended the sending of the results; they are in {folder.path}")
        return
    except (OSError, UsageError) as fault:
        raise RunError(
            f"--out {url}: the results could not be sent: {fault}; they are in {folder.path}"
        ) from None
    print(url, file=sys.stdout, flush=True)


def _with_local_traces(experiment: Experiment) -> Experiment:
    """Return the experiment with traces that are here, where it names a URL."""
    workload = experiment.workload
    if not isinstance(workload, ReplayConfig) or not is_url(workload.path):
        return experiment
    local = workload.model_copy(update={"path": fetched(workload.path)})
    return experiment.model_copy(update={"workload": local})
