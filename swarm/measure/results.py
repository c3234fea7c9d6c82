"""A run's results: rows, totals and windows, added up from the batches of its hosts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from swarm.config.experiment import Experiment
from swarm.measure.agents import completions_s, count_agents, open_s
from swarm.measure.attendance import Attendance, attendance_of
from swarm.measure.delivery import Delivery, delivery_of, herd_of
from swarm.measure.hosts import host_loads
from swarm.measure.latency import flags
from swarm.measure.reconcile import with_ideal
from swarm.measure.refused_journals import refused_journals
from swarm.measure.saturation import ServerBusy, event_lateness, of_clients, of_servers
from swarm.measure.server_time import ServerSample
from swarm.measure.sketch import Sketch
from swarm.measure.totals import RunTotals, ServerCounters
from swarm.measure.window import Windows, windows_of
from swarm.records.batch import AgentStep, Batch, Gauges, Place
from swarm.records.row import UNSENT
from swarm.records.rows import merged
from swarm.records.takeover import split
from swarm.records.tier_looks import TierLook


@dataclass(frozen=True, slots=True)
class Results:
    """A run's rows and what goes with them."""

    rows: pa.Table
    totals: RunTotals
    windows: Windows
    places: tuple[Place, ...]
    """The context tree of what was sent, by name; none of a simulation, whose fleet knows its hits."""
    server: tuple[ServerSample, ...] = ()
    """Looks at a live target's counters."""
    tiers: tuple[TierLook, ...] = ()
    """Looks at an emulated fleet's memories."""
    skipped_s: float = 0.0
    """Time in which nobody would have asked, and that the run skipped."""


def results_of(
    batches: list[Batch],
    experiment: Experiment,
    *,
    ended_s: float,
    faults: tuple[str, ...],
    counters: ServerCounters | None,
    sessions_asked_mean: float | None,
    clock_offsets_s: dict[int, float],
    capacity: dict[str, Any] | None = None,
    warnings: tuple[str, ...] = (),
    busy: tuple[ServerBusy | None, ServerBusy | None] = (None, None),
    server: tuple[ServerSample, ...] = (),
) -> Results:
    """Add up; what was open when its host was lost is interrupted, what has no row is unaccounted."""
    rows = merged(rows_of_hosts(batches))
    remarks, unknown = refused_journals(batches)
    places: tuple[Place, ...] = _all(batches, "places")
    attendance = attendance_of(batches, report_every_s=experiment.hosts.report_every_s, ended_s=ended_s)
    last = list({(batch.host, batch.epoch): batch.gauges for batch in batches}.values())
    sent = sum(gauges.sent for gauges in last) + attendance.unseen
    measured_from_s = min(experiment.load.warmup_s, ended_s)
    steps: list[AgentStep] = [step for _, step in attendance.steps]
    delivered = delivery_of(steps, rows, experiment, from_s=measured_from_s, ended_s=ended_s)
    agents = delivered.agents
    totals = RunTotals(
        measured_from_s=measured_from_s,
        measured_to_s=delivered.to_s,
        **_sums(last, "sessions_started", "sessions_finished"),
        orchestrators_started=agents.orchestrators,
        subagents_started=agents.subagents,
        peak_live=agents.peak_live,
        live_agents_mean=agents.live_mean,
        sent=sent,
        in_flight=0,
        unaccounted=sent - sent_rows(rows),
        itl=_merged(batch.itl for batch in batches),
        loop_lag=_merged(batch.loop_lag for batch in batches),
        hosts=host_loads(batches, clock_offsets_s),
        sessions_asked_mean=sessions_asked_mean,
        sessions_live_mean=delivered.sessions_live_mean,
        counters=counters,
        capacity=capacity,
        faults=(*faults, *_all(batches, "faults"), *unknown),
        remarks=remarks,
        examples=_all(batches, "examples"),
        doubts=_all(batches, "doubts"),
        **_lives(batches, measured_from_s, ended_s),
        absences=attendance.absences,
        unattended_share=_unattended_share(attendance, delivered, measured_from_s, ended_s),
        ran_out_s=delivered.ran_out_s,
        herd=herd_of(rows, experiment, from_s=measured_from_s),
        warnings=warnings,
        **_servers(batches, experiment, busy, from_s=measured_from_s, to_s=ended_s),
    )
    rows = with_ideal(rows, places, block_tokens=experiment.ideal_block_tokens)
    filled = _filled(windows_of(experiment), rows, attendance)
    return Results(rows, totals, filled, places, server, **_sums(last, "skipped_s"))


def _lives(batches: Iterable[Batch], from_s: float, ended_s: float) -> dict[str, Any]:
    """Return how long sessions and sub-agents took, those that ended and those that did not."""
    told: list[AgentStep] = list(_all(batches, "agents"))
    return {
        "session_s": completions_s(told, from_s, orchestrators=True),
        "subagent_s": completions_s(told, from_s, orchestrators=False),
        "session_open_s": open_s(told, ended_s, orchestrators=True),
        "subagent_open_s": open_s(told, ended_s, orchestrators=False),
    }


def _sums(gauges: Iterable[Gauges], *names: str) -> dict[str, Any]:
    """Return the sums of some counts over gauges, by name."""
    known = list(gauges)
    return {name: sum(getattr(each, name) for each in known) for name in names}


def _all(batches: Iterable[Batch], name: str) -> tuple[Any, ...]:
    """Return what batches tell under a name, one after the other."""
    return tuple(each for batch in batches for each in getattr(batch, name))


def _servers(
    batches: Iterable[Batch],
    experiment: Experiment,
    busy: tuple[ServerBusy | None, ServerBusy | None],
    *,
    from_s: float,
    to_s: float,
) -> dict[str, Any]:
    """Return how busy all that a live request needs was, and whether emulated servers kept their times."""
    bandwidth = experiment.hosts.network_gbit_per_s
    clients = of_clients(batches, from_s=from_s, to_s=to_s, gbit_per_s=bandwidth)
    return {"saturation": (*clients, *of_servers(*busy)), "event_lateness": event_lateness(*busy)}


def _merged(parts: Iterable[bytes]) -> Sketch:
    """Return the sketch of all that the packed sketches hold."""
    merged = Sketch()
    for part in parts:
        merged.merge(Sketch.from_bytes(part))
    return merged


def _filled(windows: Windows, rows: pa.Table, attendance: Attendance) -> Windows:
    """Return the windows with all requests and all agents' starts and ends."""
    windows.add(rows)
    for host, step in attendance.steps:
        note = windows.agent_started if step.change > 0 else windows.agent_ended
        note(step.at_s, host=host, is_subagent=not step.is_orchestrator)
    return windows


def sent_rows(rows: pa.Table) -> int:
    """Return how many rows are of requests that were sent."""
    return int((~flags(rows, "error_class", UNSENT)).sum())


def _unattended_share(
    attendance: Attendance, delivered: Delivery, from_s: float, ended_s: float
) -> float | None:
    """Return the share of the sessions' time in which nobody ran them."""
    missing = count_agents(attendance.unattended, from_s=from_s, to_s=ended_s).live_orchestrators_mean
    live = delivered.sessions_live_mean
    return missing / (missing + live) if missing and live is not None else missing


def rows_of_hosts(batches: list[Batch]) -> Iterator[pa.Table]:
    """Yield the rows of each host and epoch: the final ones, then the open ones that never became final."""
    for (_, _), group in groupby(batches, key=lambda batch: (batch.host, batch.epoch)):
        ended: set[tuple[str, int]] = set()
        opened: list[pa.Table] = []
        heard_until_s = 0.0
        for batch in group:
            heard_until_s = batch.gauges.at_s
            final, provisional = split(batch)
            ended |= set(_turns(final))
            if provisional.num_rows:
                opened.append(provisional)
            yield final
        if opened:
            table = pa.concat_tables(opened)
            lost = table.filter(pa.array([turn not in ended for turn in _turns(table)], pa.bool_()))
            yield _ended_at(lost, heard_until_s)


def _turns(table: pa.Table) -> Iterator[tuple[str, int]]:
    return zip(table.column("agent").to_pylist(), table.column("turn").to_pylist(), strict=True)


def _ended_at(table: pa.Table, at_s: float) -> pa.Table:
    """Return rows as ended when their host was last heard."""
    at = table.schema.get_field_index("completed_s")
    ends = [max(at_s, sent_s) for sent_s in table.column("sent_s").to_pylist()]
    return table.set_column(at, table.schema.field(at), pa.array(ends, pa.float64()))
