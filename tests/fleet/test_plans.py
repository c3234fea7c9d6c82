"""A provider's limits in closed form: a bucket a minute, an allotment in a rolling window."""

from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.config.provider import ProviderConfig
from swarm.context.tree import root
from swarm.fleet.build import build_fleet
from swarm.fleet.events import Event, FleetRequest, Refused
from swarm.fleet.plans import CUSTOMERS_SLACK, Plans
from swarm.sim.run import simulate


def ask(
    plans: Plans, at_s: float, fresh: int = 0, cached: int = 0, output: int = 0, session: str = "s"
) -> float:
    return plans.ask(
        session, prompt_tokens=fresh + cached, cached_tokens=cached, output_tokens=output, now_s=at_s
    )


@pytest.mark.parametrize(
    ("weight", "fresh", "cached", "wait_s"),
    [(0.0, 40, 1000, 10.0), (0.1, 30, 100, 10.0), (1.0, 0, 40, 10.0), (0.0, 0, 5000, 0.0)],
)
def test_cached_input_counts_by_its_weight(weight: float, fresh: int, cached: int, wait_s: float) -> None:
    plans = Plans(ProviderConfig(input_tokens_per_minute=60, cached_weight=weight))
    assert ask(plans, 0.0, fresh=30) == 0.0
    assert ask(plans, 0.0, fresh, cached) == pytest.approx(wait_s)


def test_a_refused_request_passes_at_the_time_it_was_told_and_not_before() -> None:
    plans = Plans(ProviderConfig(input_tokens_per_minute=600))
    assert ask(plans, 5.0, fresh=600) == 0.0
    wait_s = ask(plans, 8.0, fresh=130)
    assert wait_s == pytest.approx(10.0)
    assert ask(plans, 17.9, fresh=130) == pytest.approx(0.1)
    assert ask(plans, 18.0, fresh=130) == 0.0


def test_a_request_larger_than_a_minute_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    plans = Plans(ProviderConfig(output_tokens_per_minute=60))
    assert ask(plans, 0.0, output=150) == 0.0
    assert ask(plans, 0.0, output=150) == pytest.approx(150.0)
    assert ask(plans, 150.0, output=150) == 0.0
    assert ask(plans, 150.0, output=10) == pytest.approx(100.0)


def test_an_allotment_rolls() -> None:
    plans = Plans(ProviderConfig(allotment_tokens=100, allotment_window_s=1000))
    assert ask(plans, 0.0, fresh=20, output=20) == 0.0
    assert ask(plans, 300.0, fresh=50) == 0.0
    assert ask(plans, 400.0, fresh=30) == pytest.approx(600.0)
    assert ask(plans, 400.0, fresh=51) == pytest.approx(900.0)
    assert ask(plans, 1000.0, fresh=30) == 0.0


@pytest.mark.parametrize(("per", "wait_s"), [("session", 0.0), ("all", 60.0)])
def test_a_plan_is_a_sessions_or_everybodys(per: str, wait_s: float) -> None:
    plans = Plans(ProviderConfig.model_validate({"per": per, "input_tokens_per_minute": 60}))
    ask(plans, 0.0, fresh=60, session="a")
    assert ask(plans, 0.0, fresh=60, session="b") == pytest.approx(wait_s)


def test_customers_with_nothing_to_remember_are_forgotten() -> None:
    plans = Plans(ProviderConfig(input_tokens_per_minute=60))
    for k in range(10 * CUSTOMERS_SLACK):
        ask(plans, 60.0 * k, fresh=60, session=f"s{k}")
    assert len(plans) <= CUSTOMERS_SLACK + 1


def test_the_fleet_says_no_before_it_counts_anything_as_sent() -> None:
    fleet = build_fleet(FleetConfig(provider=ProviderConfig(input_tokens_per_minute=600)))
    events: list[Event] = []
    for k in range(2):
        fleet.submit(FleetRequest(k, "s", "s", root(f"r{k}").extend(600), 5, False), 0.0)
    while (due_s := fleet.next_event_s()) is not None:
        events += fleet.advance(due_s)
    refused = [event for event in events if isinstance(event, Refused)]
    assert [(event.request_id, event.retry_after_s) for event in refused] == [(1, pytest.approx(60.0))]
    fleet.audit()


def simulated(**provider: object) -> list[dict[str, Any]]:
    experiment = Experiment.model_validate(
        {
            "name": "t",
            "workload": {"kind": "synthetic", "idle_cap_s": 5, "subagents": {"chance_per_turn": 0}},
            "load": {"agents": 3, "ramp_s": 0, "duration_s": 400},
            "target": {"retry": {"attempts_max": 50, "retry_after_max_s": 1000, "wait_first_s": 0}},
            "fleet": {
                "cost": {"kind": "simple", "prefill_tokens_per_s": 1e9},
                "provider": {"input_tokens_per_minute": 6000, **provider},
            },
        }
    )
    rows: list[dict[str, Any]] = simulate(experiment, ()).rows.to_pylist()
    return rows


def test_agents_wait_as_told_and_the_waiting_is_inside_the_effective_ttft() -> None:
    rows = simulated()
    waited = [row for row in rows if row["outcome"] == "ok" and row["attempts"] != 1]
    assert waited
    for row in waited:
        assert row["sent_s"] == row["due_s"] == pytest.approx(row["intended_s"] + row["retry_wait_s"])
        assert row["first_token_s"] > row["sent_s"]


def test_what_passes_in_the_long_run_is_what_the_plan_allows() -> None:
    rows = [row for row in simulated() if row["outcome"] == "ok"]
    sessions = {row["session"] for row in rows}
    assert len(sessions) > 1
    for session in sessions:
        mine = [row for row in rows if row["session"] == session]
        charged = [int(row["prompt_tokens"]) - int(row["cached_tokens"]) for row in mine]
        assert sum(charged) <= 6000 + 100 * max(row["sent_s"] for row in mine) + max(charged)
