"""Agents fit a server's context, and a search its time."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.config.load import LoadConfig
from swarm.load.sizing import Demand, Known, fitted_agents, sized
from swarm.sim.run import simulate
from swarm.workload.source import Material

DEMAND = Demand((30_000.0,), 50_000.0, 0.05, 50.0, 2_500.0, 15.0)
KNOWN = Known(131_072, 1_600_000, 1, ((2_048, 0.1), (32_768, 1.7)), 0.01)


@pytest.mark.parametrize("context_tokens", [2_048, 8_192, 32_768, 131_072, 1_000_000])
def test_no_prompt_of_fitted_agents_is_longer_than_the_context(context_tokens: int) -> None:
    agents = fitted_agents(context_tokens, agents_max=12)
    fleet = FleetConfig.model_validate(
        {
            "max_model_len": context_tokens,
            "cost": {"kind": "simple", "prefill_tokens_per_s": 1e6, "decode_base_s": 0.001},
        }
    )
    load = LoadConfig(agents=12, ramp_s=0.0, duration_s=400.0, drain_s=0.0)
    rows = simulate(Experiment(name="fit", workload=agents, load=load, fleet=fleet), Material()).rows
    outcomes = np.array(rows.column("outcome").to_pylist())
    assert len(outcomes) > 100
    assert not (outcomes == "failed").any()


def test_a_context_that_holds_no_agent_is_refused() -> None:
    with pytest.raises(ValueError, match="2,048 are needed"):
        fitted_agents(1_024, agents_max=4)


def test_a_long_prompt_takes_more_for_each_token_than_a_short_one() -> None:
    assert KNOWN.cold_s(2_048) == pytest.approx(0.1)
    assert KNOWN.cold_s(32_768) == pytest.approx(1.7)
    assert KNOWN.cold_s(65_536) > 2 * KNOWN.cold_s(32_768)


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (KNOWN, "KV memory"),
        (Known(131_072, None, 1, ((2_048, 0.1),), 0.01), "a quarter of the time"),
        (Known(131_072, 10**9, 1, ((2_048, 4.0),), 0.01), "a quarter of its prefill"),
    ],
)
def test_a_search_starts_where_the_scarcest_thing_lets_it(known: Known, why: str) -> None:
    demand = Demand((10.0,) if "prefill" in why else (30_000.0,), 50_000.0, 0.05, 50.0, 2_500.0, 15.0)
    size = sized(known, demand, time_s=600.0, agents_max=1_000)
    assert why in size.why
    assert size.agents_from >= 1
    assert size.hold_s <= 120.0


def test_few_requests_make_looks_longer() -> None:
    rare = Demand((30_000.0,), 50_000.0, 0.005, 5.0, 250.0, 1.5)
    assert (
        sized(KNOWN, rare, time_s=600.0, agents_max=100).hold_s
        > sized(KNOWN, DEMAND, time_s=600.0, agents_max=100).hold_s
    )
