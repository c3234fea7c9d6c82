"""What each node of a run is to carry, held against the room that its hosts found there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from swarm.live.driver.host_cost import AGENT_BYTES, HOST_S_PER_S, HostCost
from swarm.live.room import Room

FILES_SPARE = 256
"""Files that a host has open beside its agents' connections: Ray's, its journal, its libraries."""
LOOP_SHARE_MAX = 0.8
"""Of a core, by one host: past it the audit's bounds on lag are missed."""
NODES_NAMED = 5
"""Nodes and hosts that are told one by one."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What all hosts of a run are to carry together, shared alike among them."""

    cost: HostCost
    hosts_count: int
    needed: int
    """Hosts that the work takes."""
    beside_cores: Mapping[str, float]
    """What else the run does on a node, by its name, in cores."""


def shortfalls(shares: Shares, rooms: Mapping[int, Room]) -> list[str]:
    """Return in words where cores, files or memory will not carry what is placed there.

    `rooms`: by host, what it found on its node; of hosts that start later nothing is known.
    """
    each = shares.cost.of(1.0 / max(1, shares.hosts_count))
    found = _loops(shares, each)
    by_node: dict[str, list[Room]] = {}
    for _, room in sorted(rooms.items()):
        by_node.setdefault(room.node, []).append(room)
    told = [words for node, inside in by_node.items() for words in _node(shares, each, node, inside)]
    if len(told) > NODES_NAMED:
        told = [*told[:NODES_NAMED], f"and {len(told) - NODES_NAMED} more shortfalls of nodes"]
    return found + told


def _loops(shares: Shares, each: HostCost) -> list[str]:
    """Return whether one host's event loop has more to do than one core does."""
    if each.cores <= LOOP_SHARE_MAX:
        return []
    return [
        f"each of {shares.hosts_count} hosts is expected to need {each.cores:.1f} cores, and one has no more "
        f"than one: set hosts.count: {shares.needed}, on nodes with as many CPUs together"
    ]


def _node(shares: Shares, each: HostCost, node: str, inside: list[Room]) -> list[str]:
    count, cores = len(inside), inside[0].cores
    hosts = f"node {node}: its {count} host{'s' if count > 1 else ''}"
    beside = shares.beside_cores.get(node, 0.0)
    expected = count * (each.cores + HOST_S_PER_S) + beside
    found = []
    if expected > cores:
        more = f" and {beside:.1f} more for what else the run does there" if beside >= 0.05 else ""
        found.append(
            f"{hosts} are expected to need {expected - beside:.1f} cores{more}, of {cores:g}: "
            "they will be late; add nodes, or ask for less load"
        )
    files_max = min(room.files_max for room in inside)
    if each.agents + FILES_SPARE > files_max:
        found.append(
            f"{hosts} may open {files_max:,} files each, of {each.agents + FILES_SPARE:,.0f} that "
            f"{each.agents:,.0f} agents may need: raise `ulimit -n` where Ray is started, or hosts.count"
        )
    free = [room.memory_free_bytes for room in inside if room.memory_free_bytes is not None]
    wanted = count * each.agents * AGENT_BYTES
    if free and wanted > min(free):
        found.append(
            f"{hosts} are expected to take {wanted / 2**30:.1f} GiB for {count * each.agents:,.0f} agents, "
            f"of {min(free) / 2**30:.1f} GiB that are free: add nodes, or ask for fewer agents"
        )
    return found
