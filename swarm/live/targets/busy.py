"""How busy servers have been, read from the Prometheus text of their `/metrics`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from swarm.live.targets.counters import TEXT_BYTES_MAX
from swarm.measure.saturation import ServerBusy

_SAMPLE = re.compile(
    r"^(process_cpu_seconds_total|swarm:cpu_wait_seconds_total|swarm:prefill_busy_seconds_total"
    r"|swarm:prefill_schedulers|swarm:pipe_busy_seconds_total|swarm:event_lateness_seconds_(?:sum|count)"
    r"|vllm:request_queue_time_seconds_sum|vllm:time_to_first_token_seconds_sum)"
    r"(?:\{(?:pipe=\"([^\"]*)\")?.*\})?\s+([0-9.eE+-]+)\s*$",
    re.MULTILINE,
)
_LATE = re.compile(
    r"^swarm:event_lateness_seconds_bucket\{[^}]*\ble=\"([^\"]+)\"[^}]*\}\s+([0-9.eE+-]+)\s*$", re.MULTILINE
)


def read_busy(texts: Sequence[str], at_s: float) -> ServerBusy:
    """Return what servers say at a time, by their metrics."""
    each = [_read(text) for text in texts]
    return ServerBusy(
        at_s=at_s,
        loops_s=tuple(
            None
            if (cpu_s := one.get("process_cpu_seconds_total")) is None
            else cpu_s + one.get("swarm:cpu_wait_seconds_total", 0.0)
            for one in each
        ),
        prefill_s=_sum(each, "swarm:prefill_busy_seconds_total"),
        prefill_ranks=int(_sum(each, "swarm:prefill_schedulers") or 0),
        pipes_s={
            f"{name.removeprefix(_PIPE)} of server {server}": value
            for server, one in enumerate(each)
            for name, value in one.items()
            if name.startswith(_PIPE)
        },
        late_s=_sum(each, "swarm:event_lateness_seconds_sum") or 0.0,
        late_count=_sum(each, "swarm:event_lateness_seconds_count") or 0.0,
        queued_s=_sum(each, "vllm:request_queue_time_seconds_sum"),
        first_token_s=_sum(each, "vllm:time_to_first_token_seconds_sum"),
        late_by_bound=tuple(_late_by_bound(text) for text in texts),
    )


def _late_by_bound(text: str) -> dict[float, float]:
    """Return how many moments of sending were late by each bound at most; nothing where no emulator tells."""
    counts: dict[float, float] = {}
    for bound, count in _LATE.findall(text[:TEXT_BYTES_MAX]):
        try:
            counts[float(bound)] = float(count)
        except ValueError:
            continue
    return counts


_PIPE = "pipe "


def _read(text: str) -> dict[str, float]:
    """Return a server's samples, summed over its engines; a pipe is one by itself."""
    sums: dict[str, float] = {}
    for name, pipe, value in _SAMPLE.findall(text[:TEXT_BYTES_MAX]):
        key = f"{_PIPE}{pipe}" if pipe else name
        try:
            sums[key] = sums.get(key, 0.0) + float(value)
        except ValueError:
            continue
    return sums


def _sum(each: Sequence[dict[str, float]], name: str) -> float | None:
    """Return the sum over servers; None where one of them does not tell."""
    values = [one.get(name) for one in each]
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
