"""What was full: how busy clients, network, fronts, prefill and stores were over the measured phase.

A share of 1 is a resource that had no time left. What is nearest to it bounds the run; below `FULL` nothing
does, and the load itself is the limit. Live shares are measured, simulated ones are the model's own. Emulated
servers also tell how late they sent their events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from swarm.fleet.busy import FleetBusy
from swarm.records.batch import Batch, Gauges
from swarm.units import counted

ResourceName = Literal["client", "network", "fronts", "prefill", "store"]
FULL = 0.85
"""Share from which on a resource is taken to bound a run: queues before it grow steeply there."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing that requests need, and how busy it was."""

    name: ResourceName
    share: float | None
    """None where nobody told."""
    told: str
    """What the share is made of, in words."""


@dataclass(frozen=True, slots=True)
class ServerBusy:
    """What the servers of a target have counted up to a moment; seconds, None where they do not tell."""

    at_s: float
    loops_s: tuple[float | None, ...]
    """By server: CPU time of its process, and time that it was ready to run and had no core."""
    prefill_s: float | None
    prefill_ranks: int
    pipes_s: Mapping[str, float]
    """Of every memory's side and link, over all servers; names tell servers apart."""
    late_s: float
    """How late events were sent, summed over `late_count` of them."""
    late_count: float
    queued_s: float | None
    """What requests waited for until they were admitted, summed: engines that are not emulated tell it."""
    first_token_s: float | None
    """What requests waited for until their first token, summed."""
    late_by_bound: tuple[Mapping[float, float], ...] = ()
    """By emulated server: moments of sending, counted up to each bound on how late they were, in seconds."""


@dataclass(frozen=True, slots=True)
class EventLateness:
    """Moments at which one server sent events, by how long after their time that was."""

    server: int
    late_by_bound: Mapping[float, float]
    """Moments that were late by each bound in seconds at most; the last bound is infinite."""

    def share_over(self, bound_s: float) -> float:
        """Return the share of moments that were surely later than `bound_s`: 0 where none is known."""
        counts = self.late_by_bound
        most = max(counts.values(), default=0.0)
        within = min((count for bound, count in counts.items() if bound >= bound_s), default=most)
        return (most - within) / most if most > 0 else 0.0


def bound_by(resources: Iterable[Resource]) -> ResourceName | None:
    """Return the resource that was fullest, where it was full."""
    known = [(each.share, each.name) for each in resources if each.share is not None]
    share, name = max(known, key=lambda each: each[0], default=(0.0, None))
    return name if share >= FULL else None


def saturation_summary(resources: Sequence[Resource]) -> dict[str, Any] | None:
    """Return what a run's summary says; None where nothing is known."""
    if not resources:
        return None
    return {"bound_by": bound_by(resources), "resources": [asdict(each) for each in resources]}


def of_clients(
    batches: Iterable[Batch], *, from_s: float, to_s: float, gbit_per_s: float | None
) -> tuple[Resource, ...]:
    """Return how busy the hosts and their nodes' network were, by the one that was busiest."""
    spans = _spans(batches, from_s, to_s)
    loops: list[tuple[float, int, float, float]] = []
    flows: list[tuple[float, int, float, float]] = []
    for host, (first, last) in spans.items():
        seconds = last.at_s - first.at_s
        used = (last.cpu_s - first.cpu_s) / seconds
        waited = ((last.cpu_wait_s or 0.0) - (first.cpu_wait_s or 0.0)) / seconds
        loops.append((used + waited, host, used, waited))
        if None not in (first.sent_bytes, last.sent_bytes, first.received_bytes, last.received_bytes):
            sent = ((last.sent_bytes or 0) - (first.sent_bytes or 0)) / seconds
            received = ((last.received_bytes or 0) - (first.received_bytes or 0)) / seconds
            flows.append((max(sent, received), host, sent, received))
    return _client(loops), _network(flows, gbit_per_s)


def of_servers(before: ServerBusy | None, after: ServerBusy | None) -> tuple[Resource, ...]:
    """Return how busy the target's servers were in between."""
    if before is None or after is None or after.at_s <= before.at_s:
        return tuple(Resource(name, None, "the servers' counters could not be read") for name in _SERVERS)
    seconds = after.at_s - before.at_s
    return (_fronts(before, after, seconds), _prefill(before, after, seconds), _store(before, after, seconds))


def event_lateness(before: ServerBusy | None, after: ServerBusy | None) -> tuple[EventLateness, ...]:
    """Return what each server counted in between; one that was started anew in it is not known."""
    if before is None or after is None:
        return ()
    found: list[EventLateness] = []
    pairs = zip(before.late_by_bound, after.late_by_bound, strict=False)
    for server, (first, last) in enumerate(pairs):
        grown = {bound: count - first.get(bound, 0.0) for bound, count in last.items()}
        if grown and min(grown.values()) >= 0:
            found.append(EventLateness(server, grown))
    return tuple(found)


def of_fleet(busy: FleetBusy, seconds: float) -> tuple[Resource, ...]:
    """Return how busy the parts of a simulated fleet were; clients and fronts take no time there."""
    prefill = busy.prefill_s / (busy.prefill_ranks * seconds) if seconds > 0 else None
    return (
        Resource(
            "prefill", prefill, f"time in which {counted(busy.prefill_ranks, 'scheduler')} computed prompts"
        ),
        _fullest({name: used / seconds for name, used in busy.pipes_s.items()} if seconds > 0 else {}),
    )


_SERVERS: tuple[ResourceName, ...] = ("fronts", "prefill", "store")


def _spans(batches: Iterable[Batch], from_s: float, to_s: float) -> dict[int, tuple[Gauges, Gauges]]:
    """Return each host's first and last gauges in a time, of its longest-lived epoch."""
    found: dict[tuple[int, int], tuple[Gauges, Gauges]] = {}
    for batch in batches:
        gauges, key = batch.gauges, (batch.host, batch.epoch)
        if from_s <= gauges.at_s <= to_s:
            first, _ = found.get(key, (gauges, gauges))
            found[key] = (first, gauges)
    longest: dict[int, tuple[Gauges, Gauges]] = {}
    for (host, _), span in found.items():
        known = longest.get(host, (span[0], span[0]))
        if span[1].at_s - span[0].at_s > known[1].at_s - known[0].at_s:
            longest[host] = span
    return longest


def _client(loops: list[tuple[float, int, float, float]]) -> Resource:
    if not loops:
        return Resource("client", None, "no host reported twice in the measured phase")
    share, host, used, waited = max(loops)
    return Resource(
        "client", min(1.0, share), f"host {host} used {used:.0%} of a core and waited {waited:.0%} for one"
    )


def _network(flows: list[tuple[float, int, float, float]], gbit_per_s: float | None) -> Resource:
    if not flows:
        return Resource("network", None, "no node told what it sent")
    most, host, sent, received = max(flows)
    told = f"the node of host {host} sent {sent * 8 / 1e6:,.1f} Mbit/s and received {received * 8 / 1e6:,.1f}"
    if gbit_per_s is None:
        return Resource(
            "network", None, f"{told}; hosts.network_gbit_per_s, which would say of how much, is not set"
        )
    return Resource("network", most * 8 / (gbit_per_s * 1e9), f"{told}, of {gbit_per_s * 1e3:g}")


def _fronts(before: ServerBusy, after: ServerBusy, seconds: float) -> Resource:
    pairs = zip(before.loops_s, after.loops_s, strict=False)
    shares = [(last - first) / seconds for first, last in pairs if first is not None and last is not None]
    if not shares or min(shares) < 0:
        return Resource("fronts", None, "the servers do not tell what CPU they use")
    count = after.late_count - before.late_count
    late = (
        f"; events were sent {(after.late_s - before.late_s) / count * 1e3:.1f} ms late" if count > 0 else ""
    )
    busiest = shares.index(max(shares))
    return Resource(
        "fronts",
        min(1.0, shares[busiest]),
        f"time in which server {busiest} used a core or waited for one{late}",
    )


def _prefill(before: ServerBusy, after: ServerBusy, seconds: float) -> Resource:
    if before.prefill_s is not None and after.prefill_s is not None and after.prefill_ranks:
        share = (after.prefill_s - before.prefill_s) / (after.prefill_ranks * seconds)
        return Resource(
            "prefill", share, f"time in which {counted(after.prefill_ranks, 'scheduler')} computed prompts"
        )
    told = (before.queued_s, after.queued_s, before.first_token_s, after.first_token_s)
    if None in told:
        return Resource("prefill", None, "the servers do not tell how busy their schedulers are")
    waited = (after.queued_s or 0.0) - (before.queued_s or 0.0)
    until_first = (after.first_token_s or 0.0) - (before.first_token_s or 0.0)
    if until_first <= 0:
        return Resource("prefill", None, "no request had a first token")
    return Resource("prefill", waited / until_first, "of the time to the first token, spent in the queue")


def _store(before: ServerBusy, after: ServerBusy, seconds: float) -> Resource:
    pipes = {name: (used - before.pipes_s.get(name, 0.0)) / seconds for name, used in after.pipes_s.items()}
    return _fullest(pipes)


def _fullest(pipes: Mapping[str, float]) -> Resource:
    """Return the memory's side, or the link, that was used most of its bandwidth."""
    if not pipes:
        return Resource("store", None, "no memory below HBM, or none that tells of itself")
    name = max(pipes, key=lambda each: pipes[each])
    return Resource("store", pipes[name], f"{name} moved bytes at its full bandwidth")
