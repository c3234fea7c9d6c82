"""`swarm calibrate`: what is written, and what keeps it from being written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from yaml import safe_load

from swarm.commands import calibrate
from swarm.config.fleet import FleetConfig, ReplicaGroupConfig, SimpleCostConfig
from swarm.config.target import TargetConfig
from swarm.errors import RunError
from swarm.fleet.cost.calibration import Rates
from swarm.fleet.rehearsal import Played, rehearse
from swarm.live.preflight import Tried
from swarm.live.probing.batches import Batches
from swarm.live.probing.course import Course, Found
from swarm.live.probing.heldout import agents_of
from swarm.live.probing.lower import Lower, LowerProbe, unseen
from swarm.live.targets.facts import ServerFacts
from tests.live.serving import served

RATES = Rates(1 / 50_000, 1e-9, 0.012, 1e-6, 0.008, 2e-4, 2e-7)
FACTS = ServerFacts(dialect="vllm", context_tokens=8_192, block_tokens=32, pool_tokens=200_000, engines=2)


def found(**changes: Any) -> Found:
    fields: dict[str, Any] = {
        "rates": RATES,
        "rounds": 3,
        "unsettled": {},
        "ttft_error": 0.01,
        "tpot_error": 0.01,
        "longest_tokens": 7_680,
        "block_tokens": 32,
        "batches": Batches(96, 128, None),
        "step_tokens": 2_048,
        "pool_tokens": 200_000,
        "pool_sent": 0,
        "lower": unseen("nobody looked"),
        "late": 0,
        "merged_share": 0.0,
    }
    return Found(**{**fields, **changes})


AGENTS = agents_of(1, longest_tokens=7_680, pool_tokens=200_000, turn_s=0.5)


def slower(run: list[Played], factor: float) -> list[Played]:
    return [Played(factor * each.ttft_s, each.tpot_s, each.cached_tokens, each.prompt_tokens) for each in run]


def test_everything_that_was_found_stands_in_the_fleet() -> None:
    fleet = calibrate.fleet_of(found(), FACTS)
    assert isinstance(fleet.cost, SimpleCostConfig)
    assert (fleet.block_tokens, fleet.max_model_len) == (32, 8_192)
    assert fleet.cost.kv_capacity_tokens == 100_000
    assert fleet.cost.prefill_per_context_token_s == 1e-9
    assert fleet.cost.entry_per_token_s == 1e-6
    assert fleet.replicas == (ReplicaGroupConfig(count=2, max_sequences=96, max_batched_tokens=2_048),)


def test_what_nobody_saw_stays_at_its_default() -> None:
    unseen = found(block_tokens=None, batches=Batches(None, 64, None), step_tokens=None, pool_tokens=None)
    fleet = calibrate.fleet_of(unseen, ServerFacts())
    default = FleetConfig()
    assert (fleet.block_tokens, fleet.max_model_len) == (default.block_tokens, None)
    assert fleet.replicas == default.replicas
    assert fleet.cost.kv_capacity_tokens == SimpleCostConfig().kv_capacity_tokens  # type: ignore[union-attr]


def test_loads_from_below_hbm_stand_in_the_fleet_as_a_latency_and_a_rate() -> None:
    seen = Lower("9 of 9", (LowerProbe(4_000, 0.2, 0.02, 0.12),), 0.004, 131_072 / (8 * 2**30))
    fleet = calibrate.fleet_of(found(lower=seen), FACTS)
    assert [tier.name for tier in fleet.tiers] == ["hbm", "dram"]
    assert (fleet.tiers[1].read_latency_s, fleet.tiers[1].read_gib_per_s) == (0.004, pytest.approx(8.0))
    assert fleet.recompute_when_faster is False
    assert calibrate.fleet_of(found(), FACTS).tiers == FleetConfig().tiers


@pytest.mark.parametrize(
    ("factors", "passes"), [((1.0, 1.0), True), ((1.2, 1.2), True), ((2.0, 2.0), False), ((1.0, 3.0), True)]
)
def test_a_prediction_is_held_against_bound_and_noise(factors: tuple[float, float], passes: bool) -> None:
    fleet = calibrate.fleet_of(found(), FACTS)
    runs = [slower(rehearse(fleet, AGENTS), factor) for factor in factors]
    verdicts = {each.name: each for each in calibrate.verdicts_of(fleet, AGENTS, runs)}
    assert set(verdicts) == {"TTFT p50", "TTFT p95", "TPOT p50", "TPOT p95", "hits"}
    assert verdicts["TTFT p50"].passes is passes
    assert verdicts["TPOT p95"].error == pytest.approx(0.0, abs=0.01)
    assert verdicts["hits"].error == pytest.approx(0.0)


def test_a_server_that_answers_nothing_is_no_noise() -> None:
    with pytest.raises(RunError, match="answered none"):
        calibrate.verdicts_of(calibrate.fleet_of(found(), FACTS), AGENTS, [[], []])


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (5.0, 1)])
def test_beyond_its_bounds_no_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float, code: int
) -> None:
    fleet = calibrate.fleet_of(found(), FACTS)
    verdicts = calibrate.verdicts_of(fleet, AGENTS, [slower(rehearse(fleet, AGENTS), factor)] * 2)

    async def calibrated(config: TargetConfig, course: Course) -> Any:
        return FACTS, found(), fleet, verdicts

    def tried(target: TargetConfig, **_: object) -> Tried:
        return Tried(target, 0, 0, ())

    monkeypatch.setattr(calibrate, "tried", tried)
    monkeypatch.setattr(calibrate, "_calibrated", calibrated)
    out = tmp_path / "fleet.yaml"
    assert calibrate.run_calibrate(TargetConfig(urls=("http://127.0.0.1:9",)), out) == code
    assert out.exists() is (code == 0)
    if code == 0:
        assert FleetConfig.model_validate(safe_load(out.read_text())) == fleet


@pytest.mark.quiet
def test_a_small_server_is_calibrated_to_the_end(tmp_path: Path) -> None:
    """Counts come out exactly; seconds are left to a quiet machine."""
    fleet = FleetConfig(
        block_tokens=16,
        max_model_len=2_048,
        cost=SimpleCostConfig(
            prefill_tokens_per_s=100_000.0, entry_s=0.005, decode_base_s=0.004, kv_capacity_tokens=50_000
        ),
        replicas=(ReplicaGroupConfig(max_sequences=20),),
    )
    out = tmp_path / "fleet.yaml"
    course = Course(pause_s=0.0, rounds_min=2, rounds_max=2)
    with served(fleet, 0) as port:
        target = TargetConfig(urls=(f"http://127.0.0.1:{port}",), api="completions")
        code = calibrate.run_calibrate(target, out, course=course)
    assert code in (0, 1)
    if code == 0:
        written = FleetConfig.model_validate(safe_load(out.read_text()))
        assert (written.block_tokens, written.max_model_len) == (16, 2_048)
        assert written.replicas[0].max_sequences == 20


@pytest.mark.parametrize(
    ("predicted_s", "noise", "longer"),
    [(0.010, 0.05, 0.2), (0.0116, 0.05, 0.0), (0.0150, 0.05, -0.2), (0.01195, 0.0, 0.0)],
)
def test_a_fleet_keeps_by_how_much_steps_took_longer_than_noise(
    predicted_s: float, noise: float, longer: float
) -> None:
    pace = calibrate.Verdict("TPOT p50", predicted_s, 0.012, predicted_s / 0.012 - 1, noise, 0.3)
    fleet = calibrate.with_longer(calibrate.fleet_of(found(), FACTS), [pace])
    assert isinstance(fleet.cost, SimpleCostConfig)
    assert fleet.cost.steps_longer == pytest.approx(longer)


def test_a_calibration_opens_with_its_answer() -> None:
    good = calibrate.Verdict("TTFT p50", 0.103, 0.1, 0.03, 0.01, 0.1)
    bad = calibrate.Verdict("TPOT p95", 0.02, 0.03, -0.33, 0.05, 0.2)
    hits = calibrate.Verdict("hits", 90.0, 90.4, -0.4, 0.1, 2.0)
    assert calibrate.answer([good, hits]) == (
        "The fleet predicts the load that was held out: TTFT p50 +3%, hits -0.4 points."
    )
    assert calibrate.answer([good, bad]).endswith(
        "does not predict the load that was held out: TPOT p95 -33%."
    )
    assert "not held against anything" in calibrate.answer([])
