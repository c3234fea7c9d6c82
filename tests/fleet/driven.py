"""A fleet run over submits and cancels, for the twins to be held against."""

from __future__ import annotations

import math
from dataclasses import dataclass

from swarm.config.fleet import FleetConfig
from swarm.fleet.build import build_fleet
from swarm.fleet.events import Event, FleetRequest
from swarm.fleet.fleet import Fleet


@dataclass(frozen=True)
class Op:
    """Submit a request, or cancel an earlier one."""

    at_s: float
    request: FleetRequest | None
    cancels: int


def drive(config: FleetConfig, ops: list[Op], tokens: bool, extra: list[float]) -> tuple[Fleet, list[Event]]:
    """Run a fleet over the operations, audited at each; calls at the `extra` times change nothing."""
    fleet = build_fleet(config)
    events: list[Event] = []
    extra = sorted(extra)
    for op in [*ops, None]:
        until = math.inf if op is None else op.at_s
        while True:
            due = fleet.next_event_s(tokens)
            now = min(due if due is not None else math.inf, extra[0] if extra else math.inf, until)
            if now == math.inf:
                break
            events += fleet.advance(now, tokens)
            fleet.audit()
            if extra and extra[0] <= now:
                extra.pop(0)
                fleet.next_event_s(not tokens)
                events += fleet.advance(now, tokens)
            if now == until:
                break
        if op is not None:
            if op.request is not None:
                fleet.submit(op.request, op.at_s)
            else:
                fleet.cancel(op.cancels, op.at_s)
            fleet.audit()
    check_empty(fleet)
    return fleet, events


def check_empty(fleet: Fleet) -> None:
    """Hold a fleet that has done all to it: nobody waits, nothing is held or on its way."""
    assert fleet.traffic.network.under_way == 0 and not fleet._sequences
    for rank in fleet.ranks:
        assert not (rank.waiting or rank.open or rank.held or rank.batch.members)
        assert (rank.stalls, rank.backlog_tokens, rank.entering) == (0, 0, 0)
        assert rank.hierarchy.tiers[0].reserved == 0 and not rank.hierarchy.pins.ends
    for queue in fleet.traffic._queues.values():
        assert queue.bytes_count == 0 and not queue.blocked
