"""What a host is told at its birth; who only starts hosts imports this and no host."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.config.experiment import Experiment
from swarm.load.purse import NOTHING_SPENT, Spent
from swarm.records.takeover import Takeover


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What a host is told at its birth; `experiment.target` is resolved: URLs and model are known."""

    experiment: Experiment
    host: int
    hosts: int
    epoch: int
    journal: str | None
    """Folder for the host's own journal; None: batches go to the coordinator alone."""
    follows: tuple[int, ...]
    """The last batch that counts of each earlier epoch of this host."""
    takeover: Takeover | None
    """What is known of this host's sessions from lost or stopped hosts; None at a run's start."""
    run_id: str | None = None
    """Enters every prompt where the target's cache is to be fresh: the same on all hosts, and by a resume."""
    spent: Spent = NOTHING_SPENT
    """What earlier epochs of this host have spent of its share of the budget."""
