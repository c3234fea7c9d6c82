"""The processes of a run as Ray actors, spread over the nodes of a cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from swarm.cluster.actors import RemoteCoordinator, RemoteHost, RemoteProvider
from swarm.cluster.salvage import Whereabouts, fetch
from swarm.cluster.ship import ship
from swarm.cluster.spread import Place, Spread
from swarm.config.fleet import FleetConfig
from swarm.errors import RunError
from swarm.live.coordinator import CoordinatorPlan
from swarm.live.directed_slots import Order
from swarm.live.driver.launcher import Call, Failed, Lost, Outcome, Returned, answer
from swarm.live.host_plan import HostPlan
from swarm.urls import within
from swarm.workload.source import Material

COORDINATOR_RESTARTS_MAX = 3
FRONT_START_S_MAX = 120.0
FRONT_STOP_S_MAX = 10.0
WHEREABOUTS_S_MAX = 5.0
PLACES_S_MAX = 20.0
"""How long Ray's head may take to say which nodes live; one that is lost says nothing."""


class RayLauncher:
    """Starts the actors of one run. Driver and coordinator share a node, and its disk with the run folder."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._coordinator: Any = None
        self._pieces: list[Any] = []
        self._fronts: list[Any] = []
        self._spread = Spread()

    def cpus_count(self) -> int:
        """Return the CPUs of the cluster's nodes."""
        return int(ray.cluster_resources().get("CPU", 1))

    def here(self) -> str:
        """Return the address of the driver's node."""
        address: str = ray.util.get_node_ip_address()
        return address

    def start_fronts(self, shares: Sequence[FleetConfig]) -> tuple[str, ...]:
        """Serve each share of the emulated fleet; several are spread over the nodes. Return the URLs."""
        spread = Spread()
        fronts = []
        for _ in shares:
            where = self._here if len(shares) == 1 else _only_on(spread.pick(_places()))
            fronts.append(
                RemoteProvider.options(scheduling_strategy=where).remote()  # type: ignore[attr-defined]
            )
        address = "127.0.0.1" if is_one_machine() else None
        starts = [front.start.remote(share, address, 0) for front, share in zip(fronts, shares, strict=True)]
        try:
            urls = tuple(ray.get(starts, timeout=FRONT_START_S_MAX))
        except ray.exceptions.RayError as fault:
            raise RunError(f"the emulated fleet could not be started: {last_line(fault)}") from None
        self._fronts = fronts
        return urls

    def start_coordinator(self, plan: CoordinatorPlan) -> CoordinatorCalls:
        """Start the coordinator on this node; Ray starts it again where its process is lost."""
        self._coordinator = RemoteCoordinator.options(  # type: ignore[attr-defined]
            scheduling_strategy=self._here,
            max_restarts=COORDINATOR_RESTARTS_MAX,
            max_task_retries=COORDINATOR_RESTARTS_MAX,
        ).remote(plan)
        return CoordinatorCalls(self._coordinator)

    def ship(self, material: Material) -> None:
        """Put the workload's material into the object store."""
        self._pieces = ship(material)

    def start_host(self, plan: HostPlan, *, cpus: float, spreads: bool) -> HostCalls:
        """Start a host on the node with least to do for its CPUs; one that reserves some, where they are.

        Raises RunError where no node is left.
        """
        node = None if cpus else self._spread.pick(_places_left())
        actor = RemoteHost.options(  # type: ignore[attr-defined]
            scheduling_strategy="SPREAD" if node is None else _only_on(node), num_cpus=cpus
        ).remote(plan, self._coordinator, self._run_id, spreads, *self._pieces)
        return HostCalls(actor, self, node)

    def lose(self, node: str) -> None:
        """Start the next hosts rather elsewhere: one was lost there."""
        self._spread.lose(node)

    def wait(self, calls: Sequence[Call], within_s: float) -> dict[Call, Outcome]:
        """Wait for all calls, at most `within_s` seconds; return the outcomes of those that ended."""
        if not calls:
            time.sleep(within_s)
            return {}
        try:
            ended, _ = ray.wait(list(calls), num_returns=len(calls), timeout=within_s)
        except ray.exceptions.RayError as fault:
            return dict.fromkeys(calls, Lost(f"Ray itself is lost: {last_line(fault)}"))
        return {call: _outcome_of(call) for call in ended}

    def close(self) -> None:
        """End the servers of the emulated fleet; all actors end with the driver."""
        for stop in [front.stop.remote() for front in self._fronts]:
            try:
                ray.get(stop, timeout=FRONT_STOP_S_MAX)
            except ray.exceptions.RayError:
                continue


class HostCalls:
    """The calls of one host's actor."""

    def __init__(self, actor: Any, launcher: RayLauncher, node: str | None) -> None:
        """`node` is where it was placed; None: Ray has placed it."""
        self._actor = actor
        self._launcher = launcher
        self._node = node
        self._whereabouts = actor.whereabouts.remote()

    def clock(self) -> Call:
        """Ask for the wall clock of its machine."""
        call: Call = self._actor.clock.remote()
        return call

    def room(self) -> Call:
        """Ask for the room on its node."""
        call: Call = self._actor.room.remote()
        return call

    def run(self, start_unix_s: float) -> Call:
        """Let it play."""
        call: Call = self._actor.run.remote(start_unix_s)
        return call

    def direct(self, order: Order) -> None:
        """Let it open and close slots."""
        self._actor.direct.remote(order)

    def stop(self) -> None:
        """Let it start no more turns."""
        self._actor.stop.remote()

    def kill(self) -> None:
        """End the actor; where Ray itself is lost it ends with that."""
        with suppress(ray.exceptions.RayError):
            ray.kill(self._actor)
        if self._node is not None:
            self._launcher.lose(self._node)

    def fetch_journal(self, into: Path) -> str | None:
        """End what is left of its process and fetch its journal; one that was never placed has none."""
        place: Whereabouts | None = answer(self._launcher, self._whereabouts, WHEREABOUTS_S_MAX)
        return None if place is None else fetch(place, into)


class CoordinatorCalls:
    """The calls of the coordinator's actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def snapshot(self) -> Call:
        """Ask for the run's state."""
        call: Call = self._actor.snapshot.remote()
        return call

    def unstored(self) -> Call:
        """Ask for the batches that its journal refuses."""
        call: Call = self._actor.unstored.remote()
        return call

    def retire(self, host: int, epoch: int) -> Call:
        """Let it take no more batches of a host."""
        call: Call = self._actor.retire.remote(host, epoch)
        return call


def _places() -> list[Place]:
    """Return the nodes that live, in an order that stays."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    return [
        Place(node["NodeID"], node["Resources"].get("CPU", 0.0))
        for node in sorted(alive, key=lambda node: str(node["NodeID"]))
    ]


def _places_left() -> list[Place]:
    """Return the nodes that live; raises RunError where there is none, or nobody to say so."""
    try:
        places = within(PLACES_S_MAX, _places)
    except Exception as fault:  # noqa: BLE001 - Ray raises bare ones where its head is lost
        raise RunError(f"Ray itself is lost: {last_line(fault)}") from None
    if not places:
        raise RunError("Ray itself is lost: no node of it lives")
    return places


def _only_on(node: str) -> NodeAffinitySchedulingStrategy:
    """Return the strategy for one node; a soft one put actors without CPUs elsewhere (Ray 2.60)."""
    return NodeAffinitySchedulingStrategy(node, soft=False)


def is_one_machine() -> bool:
    """Return whether all of the cluster's nodes have one address, so that loopback reaches every one."""
    return len({node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}) <= 1


def last_line(fault: Exception) -> str:
    """Return the last line of what an error says: Ray's are preceded by a trace."""
    lines = str(fault).strip().splitlines()
    return lines[-1].strip() if lines else type(fault).__name__


def _outcome_of(call: Any) -> Outcome:
    try:
        return Returned(ray.get(call))
    except (ray.exceptions.RayActorError, ray.exceptions.ActorUnschedulableError) as fault:
        # A node may be gone before a host is placed on it: that is a loss like any other.
        return Lost(last_line(fault))
    except ray.exceptions.RayError as fault:
        return Failed(last_line(fault))
