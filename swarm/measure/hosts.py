"""How each host fared: whether it had the CPU that it needed, and woke up in time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from swarm.measure.attendance import Absence
from swarm.measure.sketch import Sketch
from swarm.records.batch import Batch, Gauges


@dataclass(frozen=True, slots=True)
class HostLoad:
    """One host over its whole time; shares are of wall time, None where there is only one report."""

    host: int
    loop_lag: Sketch
    cpu_share: float | None
    """CPU time of the host's process; 1 is a whole core."""
    cpu_wait_share: float | None
    """Time in which the event loop's thread could have run and had no core; None where it is not known."""
    put_off_s: float
    """By how much it started sessions late because it was behind, summed over them."""
    clock_offset_s: float | None
    """Its wall clock ahead of the driver's, as measured before the start; None where it was not."""


def host_loads(batches: Iterable[Batch], clock_offsets_s: dict[int, float]) -> tuple[HostLoad, ...]:
    """Return each host's load from its batches, by host; a host that came back counts as one."""
    lags: dict[int, Sketch] = {}
    ends: dict[tuple[int, int], tuple[Gauges, Gauges]] = {}
    for batch in batches:
        lags.setdefault(batch.host, Sketch()).merge(Sketch.from_bytes(batch.loop_lag))
        key = (batch.host, batch.epoch)
        first, _ = ends.get(key, (batch.gauges, batch.gauges))
        ends[key] = (first, batch.gauges)
    loads = []
    for host, lag in sorted(lags.items()):
        spans = [span for (owner, _), span in ends.items() if owner == host]
        loads.append(
            HostLoad(
                host,
                lag,
                _share(spans, "cpu_s"),
                _share(spans, "cpu_wait_s"),
                sum(last.put_off_s for _, last in spans),
                clock_offsets_s.get(host),
            )
        )
    return tuple(loads)


def hosts_summary(hosts: tuple[HostLoad, ...], absences: tuple[Absence, ...] = ()) -> dict[str, Any] | None:
    """Return the worst of each figure and its host, and who was away; None without hosts."""
    if not hosts:
        return None
    figures = {
        "loop_lag_p99_s": [(host.loop_lag.quantile(0.99), host.host) for host in hosts],
        "cpu_share": [(host.cpu_share, host.host) for host in hosts],
        "cpu_wait_share": [(host.cpu_wait_share, host.host) for host in hosts],
        "clock_offset_s": [
            (None if host.clock_offset_s is None else abs(host.clock_offset_s), host.host) for host in hosts
        ],
    }
    return {
        "count": len(hosts),
        "put_off_s": sum(host.put_off_s for host in hosts),
        **{f"worst_{name}": _worst(values) for name, values in figures.items()},
        "absences": [asdict(each) for each in absences],
    }


def _worst(values: list[tuple[float | None, int]]) -> dict[str, Any] | None:
    known = [(value, host) for value, host in values if value is not None]
    if not known:
        return None
    value, host = max(known, key=lambda each: (each[0], -each[1]))
    return {"value": value, "host": host}


def _share(spans: list[tuple[Gauges, Gauges]], name: str) -> float | None:
    used = wall_s = 0.0
    for first, last in spans:
        before, after = getattr(first, name), getattr(last, name)
        if before is not None and after is not None:
            used += after - before
            wall_s += last.at_s - first.at_s
    return used / wall_s if wall_s > 0 else None
