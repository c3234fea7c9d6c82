"""What a live run refuses before anything starts."""

from typing import Any

import pytest

from swarm.commands.run import run_live
from swarm.config.experiment import Experiment
from swarm.errors import ConfigError


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        ({}, "hosts.count: null"),
        ({"count": 2}, "hosts.count: 2"),
        ({"count": 1, "subagents": "spread"}, "hosts.subagents: spread"),
        ({"agents_per_host": 1}, "hosts.count: null and hosts.agents_per_host: 1"),
    ],
)
def test_a_live_run_skips_time_on_one_host_alone(hosts: dict[str, Any], told: str) -> None:
    workload = {"kind": "replay", "path": ".", "system_idle_cap_s": 10}
    experiment = Experiment.model_validate({"name": "t", "workload": workload, "hosts": hosts})
    with pytest.raises(ConfigError, match=f"10 with {told}: a live run skips idle time on one host"):
        run_live(experiment, None)
