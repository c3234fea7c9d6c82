"""Every count of the caches that must balance, checked from the ground up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from swarm.context.tree import Node
from swarm.errors import AuditError
from swarm.kvcache.blocks import PERMANENT, PINNED, Use
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.ordered import OrderedTier
from swarm.kvcache.requests import Handle
from swarm.kvcache.runs import Runs
from swarm.kvcache.states import StateTier
from swarm.kvcache.tier import Tier


def audit(hierarchies: Sequence[Hierarchy], handles: Iterable[tuple[Hierarchy, Handle]]) -> None:
    """Check every tier, and every hierarchy against its open requests.

    Raises:
        AuditError: A count does not balance.
    """
    for tier in {id(tier): tier for hierarchy in hierarchies for tier in hierarchy.tiers}.values():
        audit_tier(tier)
    open_handles = list(handles)
    for hierarchy in hierarchies:
        _audit_pins(hierarchy, [handle for owner, handle in open_handles if owner is hierarchy])
        _audit_prefixes(hierarchy)


def audit_tier(tier: Tier) -> None:
    """Check one tier's runs, queue and counters."""
    held = pinned = permanent = 0
    for node, runs in tier.runs.by_node.items():
        if not runs:
            raise _problem(tier, f"{node!r} is filed without runs")
        position = -1
        last: Use | None = None
        for start, end, use in runs:
            if not position <= start < end:
                raise _problem(tier, f"runs of {node!r} overlap or are empty: {runs}")
            if last is use and position >= start:
                raise _problem(tier, f"runs of {node!r} are not joined: {runs}")
            position, last = end, use
            held += end - start
            if use is PINNED:
                pinned += end - start
            elif use is PERMANENT:
                permanent += end - start
    says = tier.runs.pinned, tier.runs.permanent
    _check((pinned, permanent) == says, tier, f"{pinned} blocks are pinned, {permanent} stay, says {says}")
    _check(held == tier.runs.held, tier, f"holds {held} blocks, says {tier.runs.held}")
    _audit_queue(tier, tier.runs)
    counters = tier.counters
    gone = counters.expired_blocks + counters.evicted_blocks + counters.promoted_blocks
    _check(
        counters.inserted_blocks == held + gone,
        tier,
        f"inserted {counters.inserted_blocks} blocks, holds {held}, let go of {gone}",
    )
    capacity = tier.spec.capacity_blocks
    cached = tier.cached_blocks
    _check(
        capacity is None or cached + tier.reserved <= capacity,
        tier,
        f"holds {cached} and reserves {tier.reserved} of {capacity} blocks",
    )
    if isinstance(tier, StateTier):
        states = sum(end - start for runs in tier.states.by_node.values() for start, end, _ in runs)
        _check(states == tier.states.held, tier, f"holds {states} states, says {tier.states.held}")
        _audit_queue(tier, tier.states)
    if isinstance(tier, OrderedTier):
        ranked = sum(part.held for part in tier.ranked())
        for part in tier.ranked():
            _audit_queue(tier, part)
        _check(ranked == held - permanent, tier, f"{ranked} of {held} are ranked, {permanent} permanent")
    settled = counters.landed_blocks + counters.dropped_blocks
    _check(
        settled + tier.coming.held == counters.offered_blocks,
        tier,
        f"offered {counters.offered_blocks} blocks, took or dropped {settled}, expects {tier.coming.held}",
    )


def _audit_queue(tier: Tier, runs: Runs) -> None:
    """Check that uses are queued in order, with their blocks on their paths: eviction looks nowhere else."""
    queue = runs.queue[runs.first :]
    for before, after in pairwise(queue):
        if before.sequence >= after.sequence:
            raise _problem(tier, f"{after!r} is queued behind {before!r}")
    queued = {id(use) for use in queue}
    for node, stretches in runs.by_node.items():
        for _, _, use in stretches:
            if use.node is None:
                continue
            if id(use) not in queued:
                raise _problem(tier, f"{use!r} holds blocks and is in no queue")
            above: Node | None = use.node
            while above is not node:
                if above is None:
                    raise _problem(tier, f"{use!r} holds blocks of {node!r}, which is not on its path")
                above = above.parent


def _audit_pins(hierarchy: Hierarchy, handles: Sequence[Handle]) -> None:
    """Check that what is pinned is what open requests have pinned, and that all of it is held."""
    hbm = hierarchy.tiers[0]
    pins: dict[Node, list[int]] = {}
    for handle in handles:
        for node, end in handle.pins:
            pins.setdefault(node, []).append(end)
    for ends in pins.values():
        ends.sort()
    _check(pins == hierarchy.pins.ends, hbm, "pins are not those of the open requests")
    reserved = sum(handle.reserved for handle in handles)
    _check(reserved == hbm.reserved, hbm, f"reserves {hbm.reserved} blocks, open requests {reserved}")
    size = hierarchy.rules.block_tokens
    pinned = 0
    for node, ends in pins.items():
        start, end = node.start // size, ends[-1]
        runs = hbm.runs.by_node.get(node, [])
        pinned += end - start
        if not runs or runs[0] != (start, end, PINNED):
            raise _problem(hbm, f"{node!r} pins to {end}, holds {runs}")
    _check(pinned == hbm.runs.pinned, hbm, f"{hbm.runs.pinned} blocks are pinned, requests pin {pinned}")


def _audit_prefixes(hierarchy: Hierarchy) -> None:
    """Check that HBM holds a prefix of each path, its parts used the less recently the deeper they lie."""
    hbm = hierarchy.tiers[0]
    size = hierarchy.rules.block_tokens
    for node, runs in hbm.runs.by_node.items():
        use = PINNED
        position = node.start // size
        above = node.parent
        end = position
        while above is not None:
            first = above.start // size
            if first < end:
                held = [run for run in hbm.runs.by_node.get(above, []) if run[1] >= end]
                if not held:
                    raise _problem(hbm, f"{node!r} is held and its parent {above!r} is not")
                use = held[0][2]
                break
            above = above.parent
        for run_start, run_end, run_use in runs:
            if run_start != position:
                raise _problem(hbm, f"{node!r} has a hole before block {run_start}: {runs}")
            if run_use.sequence > use.sequence:
                raise _problem(hbm, f"{node!r} was used later than what it follows: {runs}")
            position, use = run_end, run_use


def _check(holds: bool, tier: Tier, problem: str) -> None:
    if not holds:
        raise _problem(tier, problem)


def _problem(tier: Tier, problem: str) -> AuditError:
    """Return the error; where every node is looked at, its words are made for those alone that are wrong."""
    return AuditError(f"{tier!r}: {problem}")
