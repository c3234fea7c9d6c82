"""What a live run refuses before anything starts."""

import pytest

from swarm.commands.run import run_live
from swarm.config.experiment import Experiment
from swarm.errors import ConfigError


def test_a_live_run_refuses_to_skip_time() -> None:
    workload = {"kind": "replay", "path": ".", "system_idle_cap_s": 10}
    experiment = Experiment.model_validate({"name": "t", "workload": workload})
    with pytest.raises(ConfigError, match="only `swarm simulate` skips idle time; set it to null"):
        run_live(experiment, None)
