"""How many hosts and fronts, and what share of the fleet each front gets."""

import pytest

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.errors import ConfigError
from swarm.live.driver.placement import fleet_shares, host_count


def experiment(**hosts: object) -> Experiment:
    return Experiment.model_validate({"name": "x", "workload": {"kind": "synthetic"}, "hosts": hosts})


@pytest.mark.parametrize(
    ("hosts", "slots", "cpus", "count"),
    [
        ({}, 100, 16, 1),
        ({}, 5000, 16, 10),
        ({}, 100_000, 16, 15),
        ({}, 5000, 1, 1),
        ({"count": 7}, 5000, 2, 7),
        ({"count": 7}, 3, 2, 3),
        ({"agents_per_host": 300}, 1000, 2, 4),
        ({"agents_per_host": 1}, 5, 2, 5),
    ],
)
def test_hosts_follow_the_slots_and_the_cluster(
    hosts: dict[str, int], slots: int, cpus: int, count: int
) -> None:
    assert host_count(experiment(**hosts), slots, cpus) == count


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
