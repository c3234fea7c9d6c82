"""A foreign server over time: what its counters and gauges said while a run went on.

A sample holds what all engines together had counted since their start. A restart lets counts go back, or
begins them later than before: what was counted between the last look and the restart is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow as pa

from swarm.measure.totals import ServerCounters
from swarm.records.tier_looks import TierLook, TierState

GAUGES = ("running", "waiting", "kv_use")
"""Requests that run and that wait, over all engines; the mean share of their KV memory in use."""
COUNTS = ("preemptions", "prompt_tokens", "cached_tokens", "output_tokens")
BEGAN_LATER_S = 1.0
"""A process that began so much later than before is another."""
FIELDS = (
    *(pa.field(f"server_{name}", pa.float64()) for name in GAUGES),
    *(pa.field(f"server_{name}", pa.int64()) for name in COUNTS),
    pa.field("server_tokens_by_source", pa.map_(pa.string(), pa.int64())),
)
"""Of `windows.parquet`, in the whole run's rows: gauges are means, counts what came on in the window."""


@dataclass(frozen=True, slots=True)
class ServerSample:
    """One look at a target's counters; what it does not publish is missing."""

    at_s: float
    """On the run's clock."""
    family: str
    gauges: Mapping[str, float]
    counts: Mapping[str, float]
    by_source: Mapping[str, float] = field(default_factory=dict)
    """Prompt tokens by where they came from: the engine's own names, and an emulated fleet's tiers."""
    began_s: float | None = None
    """Unix time: the newest of its processes' starts."""
    servers: int = 1
    tiers: tuple[TierState, ...] = ()
    """Of an emulated fleet."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was counted between two looks."""

    at_s: float
    """Of the later one."""
    counts: Mapping[str, int]
    by_source: Mapping[str, int]
    is_restart: bool


def stretches(samples: Sequence[ServerSample]) -> Iterator[Stretch]:
    """Yield what was counted from look to look."""
    for before, after in pairwise(samples):
        restarted = _restarted(before, after)
        yield Stretch(
            after.at_s,
            _grown(before.counts, after.counts, restarted),
            _grown(before.by_source, after.by_source, restarted),
            restarted,
        )


def restarts_s(samples: Sequence[ServerSample]) -> tuple[float, ...]:
    """Return by when a server was seen to have begun anew."""
    return tuple(each.at_s for each in stretches(samples) if each.is_restart)


def tier_looks(samples: Sequence[ServerSample]) -> tuple[TierLook, ...]:
    """Return what the looks say of an emulated fleet's memories."""
    return tuple(TierLook(each.at_s, each.tiers) for each in samples if each.tiers)


def counted(samples: Sequence[ServerSample]) -> ServerCounters | None:
    """Return what was counted over all looks, restarts included; None where hits are not published."""
    if len(samples) < 2 or any("cached_tokens" not in each.counts for each in samples):
        return None
    sums = dict.fromkeys(COUNTS, 0)
    for each in stretches(samples):
        for name, count in each.counts.items():
            sums[name] += count
    first = samples[0]
    return ServerCounters(
        family=first.family,
        servers=first.servers,
        hit_tokens=sums["cached_tokens"],
        query_tokens=sums["prompt_tokens"],
        output_tokens=sums["output_tokens"],
    )


def server_summary(samples: Sequence[ServerSample]) -> dict[str, Any] | None:
    """Return what the looks come to, over the whole run; None where nobody looked, or saw nothing."""
    if len(samples) < 2:
        return None
    found: dict[str, Any] = {"samples": len(samples), "restarts": len(restarts_s(samples))}
    for name in GAUGES:
        values = [each.gauges[name] for each in samples if name in each.gauges]
        found[f"{name}_mean"] = sum(values) / len(values) if values else None
        found[f"{name}_max"] = max(values, default=None)
    known = {name for each in samples for name in each.counts}
    for name in COUNTS:
        total = sum(each.counts.get(name, 0) for each in stretches(samples))
        found[name] = total if name in known else None
    sources: dict[str, int] = {}
    for each in stretches(samples):
        for name, count in each.by_source.items():
            sources[name] = sources.get(name, 0) + count
    return {**found, "tokens_by_source": sources}


USAGE_FLAGS = {"vllm": "--enable-prompt-tokens-details", "sglang": "--enable-cache-report"}
"""What makes an engine's usage tell cached tokens."""


def server_notes(samples: Sequence[ServerSample], summary: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know of the server: that it began anew, that its usage is silent on hits."""
    notes = []
    seen_s = restarts_s(samples)
    if seen_s:
        at = ", ".join(f"{at_s:.0f}" for at_s in seen_s[:RESTARTS_SHOWN])
        more = f" and {len(seen_s) - RESTARTS_SHOWN} times more" if len(seen_s) > RESTARTS_SHOWN else ""
        notes.append(
            f"the server began anew: seen at {at} s{more}; its cache was empty then, and what it counted "
            "between the last look and its end is missing in its counters"
        )
    if summary["cache"].get("hit_rate_from") == "counters":
        family = ((summary.get("hit_rates") or {}).get("counters") or {}).get("family")
        flag = USAGE_FLAGS.get(str(family))
        advice = f"start the server with {flag}, and every request tells its own" if flag else "see its docs"
        notes.append(
            "the server's usage does not tell cached tokens: the hit rate is that of its counters, over the "
            f"whole run and all its clients; {advice}"
        )
    return notes


RESTARTS_SHOWN = 5


def with_server(table: pa.Table, samples: Sequence[ServerSample]) -> pa.Table:
    """Return the time series with the server's columns, null where nobody looked."""
    starts, ends = table.column("start_s").to_pylist(), table.column("end_s").to_pylist()
    whole = {
        (start, end): at
        for at, (start, end, host, endpoint) in enumerate(
            zip(
                starts,
                ends,
                table.column("host").to_pylist(),
                table.column("endpoint").to_pylist(),
                strict=True,
            )
        )
        if host is None and endpoint is None
    }
    columns: dict[str, list[Any]] = {each.name: [None] * table.num_rows for each in FIELDS}
    width = next((end - start for start, end in whole), 1.0)
    origin = min((start for start, _ in whole), default=0.0)
    row_of = {round((start - origin) / width): at for (start, _), at in whole.items()}
    seen: dict[int, list[ServerSample]] = {}
    for sample in samples:
        seen.setdefault(row_of.get(int((sample.at_s - origin) // width), -1), []).append(sample)
    for at, group in seen.items():
        for name in GAUGES if at >= 0 else ():
            values = [each.gauges[name] for each in group if name in each.gauges]
            columns[f"server_{name}"][at] = sum(values) / len(values) if values else None
    for each in stretches(samples):
        row = row_of.get(int((each.at_s - origin) // width))
        if row is None:
            continue
        for name, count in each.counts.items():
            columns[f"server_{name}"][row] = (columns[f"server_{name}"][row] or 0) + count
        sources = dict(columns["server_tokens_by_source"][row] or ())
        for name, count in each.by_source.items():
            sources[name] = sources.get(name, 0) + count
        columns["server_tokens_by_source"][row] = list(sources.items()) or None
    for each_field in FIELDS:
        table = table.append_column(each_field, pa.array(columns[each_field.name], each_field.type))
    return table


def _restarted(before: ServerSample, after: ServerSample) -> bool:
    began_s, now_began_s = before.began_s, after.began_s
    if began_s is not None and now_began_s is not None and now_began_s > began_s + BEGAN_LATER_S:
        return True
    return any(after.counts[name] < count for name, count in before.counts.items() if name in after.counts)


def _grown(before: Mapping[str, float], after: Mapping[str, float], restarted: bool) -> dict[str, int]:
    """Return what was counted in between; of a server that began anew, all that it has."""
    return {
        name: max(0, int(count - (0 if restarted else before.get(name, 0)))) for name, count in after.items()
    }
