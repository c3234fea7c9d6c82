"""What each host of a run is told when it is started: its share of the slots, and what it takes over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swarm.config.experiment import Experiment
from swarm.live.host_plan import HostPlan
from swarm.load.assignment import slots_of
from swarm.load.pacing import Pacing
from swarm.load.purse import Spent
from swarm.records.batch import Batch
from swarm.records.takeover import Takeover, heard_until, is_lost, takeover_of
from swarm.workload.source import session_index

AHEAD_S = 20.0
"""How long before its first session a host is started: its process has to start and import."""


class HostPlans:
    """The plans of the hosts of one run, whose target is resolved."""

    def __init__(
        self,
        experiment: Experiment,
        pacing: Pacing,
        *,
        hosts_count: int,
        journals: Path,
        run_id: str | None = None,
    ) -> None:
        self._experiment = experiment
        self._run_id = run_id
        self._pacing = pacing
        self._hosts_count = hosts_count
        self._journals = journals

    @property
    def experiment(self) -> Experiment:
        """The experiment, with its target resolved."""
        return self._experiment

    @property
    def hosts_count(self) -> int:
        """How many hosts share the slots."""
        return self._hosts_count

    def start_s(self, host: int) -> float:
        """Return when a host is to be started; 0: with the run."""
        if self._experiment.hosts.start == "together":
            return 0.0
        return max(0.0, self._pacing.start_s(self._slots_of(host)[0]) - AHEAD_S)

    def first(self, host: int, epoch: int) -> HostPlan:
        """Return the plan of a host whose sessions nobody has played."""
        return self._plan(host, epoch, (), None)

    def resumed(self, host: int, epoch: int, batches: Sequence[Batch]) -> HostPlan:
        """Return the plan of a host of a run that goes on, none of whose earlier hosts is there."""
        if not batches:
            return self.first(host, epoch)
        return self._plan(host, epoch, batches, self._takeover(host, batches, None))

    def replacement(self, host: int, epoch: int, batches: Sequence[Batch]) -> HostPlan:
        """Return the plan of a host that goes on with the sessions of its lost earlier epoch."""
        return self._plan(host, epoch, batches, self._takeover(host, batches, host))

    def _plan(self, host: int, epoch: int, batches: Sequence[Batch], takeover: Takeover | None) -> HostPlan:
        last: dict[int, int] = {}
        for batch in batches:
            if batch.host == host:
                last[batch.epoch] = max(batch.sequence, last.get(batch.epoch, -1))
        return HostPlan(
            self._experiment,
            host=host,
            hosts=self._hosts_count,
            epoch=epoch,
            journal=str(self._journals),
            follows=tuple(last.get(earlier, -1) for earlier in range(epoch)),
            takeover=takeover,
            run_id=self._run_id,
            spent=_spent(batches, host),
        )

    def _takeover(self, host: int, batches: Sequence[Batch], lost: int | None) -> Takeover:
        """Return what is known of a host's sessions, where host `lost` (None: every host) is gone."""
        slots = self._slots_of(host)
        return takeover_of(
            batches,
            lambda session: session_index(session) % self._pacing.slots in slots,
            heard_until_s=heard_until(batches, lost),
            is_lost=is_lost(batches, lost),
        )

    def _slots_of(self, host: int) -> range:
        in_turn = self._experiment.hosts.start == "in_turn"
        return slots_of(host, self._hosts_count, self._pacing.slots, in_turn=in_turn)


def _spent(batches: Sequence[Batch], host: int) -> Spent:
    """Return what a host's epochs have spent of its share of the budget, by their last batches."""
    own = [batch for batch in batches if batch.host == host]
    # Each epoch counts on from those before it.
    return Spent(
        max((batch.gauges.spent_tokens for batch in own), default=0.0),
        max((batch.gauges.spent_cost for batch in own), default=0.0),
    )
