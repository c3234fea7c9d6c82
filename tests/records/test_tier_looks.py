"""A fleet's memories over time: looked at in virtual time, published by a server, written by window."""

import pytest

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig, TierConfig
from swarm.config.load import LoadConfig
from swarm.config.workload import PromptSetConfig
from swarm.fleet.build import build_fleet
from swarm.live.targets.server_sample import read_sample
from swarm.provider.metrics.page import Meter
from swarm.records.tier_looks import LOOKS_MAX, TierLook, TierState, looks_table, thinned
from swarm.sim.run import simulate
from swarm.units import GIB
from swarm.workload.source import load_scripts

TIERS = (TierConfig(name="hbm", capacity_gib=1), TierConfig(name="dram", capacity_gib=4))
"""Few blocks of HBM, so that what does not fit moves on."""


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment(
        name="looked-at",
        workload=PromptSetConfig(prompts=60, prompt_tokens=2_000, output_tokens=8),
        load=LoadConfig(agents=4, duration_s=None, sessions_max=60, ramp_s=0.0),
        fleet=FleetConfig(tiers=TIERS),
        window_s=0.5,
    )


def test_a_simulation_looks_once_a_window_and_counts_as_the_fleet_does(experiment: Experiment) -> None:
    results = simulate(experiment, load_scripts(experiment.workload, 1, 4))
    table = looks_table(results.tiers)
    rows = [row for row in table.to_pylist() if row["tier"] == "dram"]
    assert len(rows) >= 2
    assert all(row["start_s"] < row["end_s"] and row["held_bytes"] <= 4 * GIB for row in rows)
    counted = results.totals.fleet["tiers"]["dram"]
    for name in ("read_bytes", "written_bytes", "dropped_bytes"):
        assert sum(row[name] for row in rows) == counted[name]
    assert counted["written_bytes"] > 0


def test_a_server_says_of_its_memories_what_its_fleet_does() -> None:
    config = FleetConfig(tiers=TIERS)
    text = Meter(build_fleet(config), config).text().decode()
    sample = read_sample([text, text], 1.0)
    assert sample is not None
    assert [state.tier for state in sample.tiers] == ["hbm", "dram"]
    assert sample.tiers[1].capacity_bytes == pytest.approx(2 * 4 * GIB, rel=0.001)


@pytest.mark.parametrize("value", ["-1", "1e300", "NaN"])
def test_bytes_that_cannot_be_are_not_believed(value: str) -> None:
    text = f'vllm:num_requests_running 1\nswarm:tier_held_bytes{{tier="hbm"}} {value}\n'
    sample = read_sample([text], 1.0)
    assert sample is not None and sample.tiers == ()


def test_looks_are_bounded_by_leaving_out_every_other_one() -> None:
    state = TierState("hbm", None, 0, 0, 0, 0, 0)
    looks = [TierLook(float(at), (state,)) for at in range(LOOKS_MAX + 1)]
    kept = thinned(looks)
    assert len(kept) <= LOOKS_MAX // 2 + 1 and kept[-1] == looks[-1]


def test_a_capacity_beyond_any_column_is_written_as_the_most() -> None:
    looks = [TierLook(at_s, (TierState("dram", 10**20, 0, 0, 0, 0, 0),)) for at_s in (0.0, 1.0)]
    assert looks_table(looks).column("capacity_bytes").to_pylist() == [2**63 - 1]
