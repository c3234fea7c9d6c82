"""Loads that could not measure anything are refused before they are played."""

from typing import Any

import pytest

from swarm.config.load import LoadConfig
from swarm.config.read import validate
from swarm.errors import ConfigError


@pytest.mark.parametrize(
    "load",
    [{"duration_s": 5, "warmup_s": 7}, {"warmup_s": 60}, {"search": {}, "duration_s": 5, "warmup_s": 5}],
)
def test_a_warm_up_is_shorter_than_the_run(load: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"warmup_s: .* is not shorter than duration_s"):
        validate(LoadConfig, load, "load")


@pytest.mark.parametrize(
    "load", [{"duration_s": None, "warmup_s": 1e6}, {"search": {}, "warmup_s": 100}, {"warmup_s": 59.9}]
)
def test_a_run_whose_end_is_not_known_may_warm_up_for_long(load: dict[str, Any]) -> None:
    assert validate(LoadConfig, load, "load").warmup_s == load["warmup_s"]
