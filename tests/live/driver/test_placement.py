"""How many hosts and fronts, and what share of the fleet each front gets."""

import pytest

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.errors import ConfigError
from swarm.live.driver.host_cost import cost_of
from swarm.live.driver.placement import fleet_shares, host_count
from swarm.load.expected_work import NO_WORK, ExpectedWork


def experiment(**hosts: object) -> Experiment:
    return Experiment.model_validate({"name": "x", "workload": {"kind": "synthetic"}, "hosts": hosts})


IDLE = ExpectedWork(requests_per_s=0.02, prompt_tokens=17_000, output_tokens=40, agents=1.0)
"""About 2 ms of a core a request: 5,000 such sessions take 0.2 cores."""
BUSY = ExpectedWork(requests_per_s=1.0, prompt_tokens=1_000, output_tokens=1_000, agents=1.0)
"""40 tokens' time of a core a second for each session."""


@pytest.mark.parametrize(
    ("hosts", "slots", "cpus", "work", "count"),
    [
        ({}, 5_000, 16, IDLE, 1),
        ({}, 500, 100, BUSY, 41),
        ({}, 500, 16, BUSY, 15),
        ({}, 500, 1, BUSY, 1),
        ({}, 40_000, 16, NO_WORK, 3),
        ({}, 3, 16, ExpectedWork(100.0, 1_000, 1_000, 1.0), 3),
        ({"count": 7}, 5000, 2, IDLE, 7),
        ({"count": 7}, 3, 2, BUSY, 3),
        ({"agents_per_host": 300}, 1000, 2, BUSY, 4),
        ({"agents_per_host": 1}, 5, 2, IDLE, 5),
    ],
    ids=[
        "many idle agents share a host",
        "few busy ones have many",
        "up to one less than the CPUs",
        "one at least",
        "a host has so many connections",
        "none is without a session",
        "as many as asked",
        "as asked, but none without a session",
        "so many to each",
        "one to each",
    ],
)
def test_hosts_follow_the_work_and_the_cluster(
    hosts: dict[str, int], slots: int, cpus: int, work: ExpectedWork, count: int
) -> None:
    assert host_count(experiment(**hosts), slots, cpus, cost_of(work, slots)) == count


@pytest.mark.parametrize("fronts", [1, 2, 3, 5])
def test_fronts_share_all_replicas_and_shared_tiers(fronts: int) -> None:
    fleet = FleetConfig.model_validate(
        {
            "replicas": [{"count": 7}, {"count": 5}],
            "tiers": [{"name": "hbm"}, {"name": "nvme", "scope": "cluster", "capacity_gib": 100}],
        }
    )
    shares = fleet_shares(fleet, fronts)
    assert [sum(share.replicas[k].count for share in shares) for k in (0, 1)] == [7, 5]
    assert sum(share.tiers[1].capacity_gib or 0 for share in shares) == pytest.approx(100)
    assert min(group.count for share in shares for group in share.replicas) >= 1


def test_more_fronts_than_replicas_are_refused() -> None:
    with pytest.raises(ConfigError, match="provider_fronts: 3 fronts"):
        fleet_shares(FleetConfig.model_validate({"replicas": [{"count": 2}]}), 3)
