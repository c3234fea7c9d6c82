"""Memories below HBM: what comes from there is told from what is computed again, and its load measured."""

from __future__ import annotations

import asyncio
from array import array
from typing import Any

import pytest

from swarm.config.fleet import FleetConfig
from swarm.config.target import TargetConfig
from swarm.context.tree import Node, Prompt
from swarm.fleet.cost.calibration import Rates
from swarm.live.probing.lower import Lower, lower_of, lower_tier
from swarm.live.probing.prober import Prober
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import TurnResult
from tests.live.serving import served

POOL = 40_000
RATES = Rates(1e-4, 0.0, 0.01, 0.0, 0.01, 0.0, 0.0)
LATENCY_S, TOKEN_S = 0.003, 2e-6


class TieredServer:
    """A prober of a server with a pool, oldest out first, over a tier that keeps all or nothing."""

    def __init__(self, *, keeps: bool, pool_tokens: int = POOL, reports: bool = True) -> None:
        self.cached_seen = reports
        self._keeps = keeps
        self._pool_tokens = pool_tokens
        self._hbm: list[Prompt] = []
        self._below: set[str] = set()
        self._count = 0

    def fresh(self, tokens: int) -> Prompt:
        self._count += 1
        return Prompt(Node(f"fresh/{self._count}"), tokens)

    async def pause(self) -> None:
        pass

    async def send(self, prompt: Prompt, output_tokens: int) -> TurnResult:
        held = prompt in self._hbm
        loaded = not held and prompt.node.name in self._below
        cached = prompt.length - 1 if held or loaded else 0
        seconds = RATES.ttft_s(prompt.length, cached) + (LATENCY_S + TOKEN_S * cached if loaded else 0.0)
        self._hbm = [other for other in self._hbm if other != prompt] + [prompt]
        while sum(other.length for other in self._hbm) > self._pool_tokens:
            out = self._hbm.pop(0)
            if self._keeps:
                self._below.add(out.node.name)
        return TurnResult(
            sent_s=0.0, first_token_s=seconds, token_times=array("d", [seconds]), cached_tokens=cached
        )


def probed(server: TieredServer, **changes: Any) -> Lower:
    stated = {"longest_tokens": 8_000, "pool_tokens": POOL, "engines": 1}
    return asyncio.run(lower_tier(server, RATES, **{**stated, **changes}))  # type: ignore[arg-type]


def test_a_load_from_below_hbm_is_a_latency_and_time_for_each_token() -> None:
    found = probed(TieredServer(keeps=True))
    assert (found.latency_s, found.token_s) == pytest.approx((LATENCY_S, TOKEN_S))
    assert [probe.tokens for probe in found.probes] == [624, 2_499, 4_999]
    assert all(probe.hit_s < probe.lower_s < probe.miss_s for probe in found.probes)


@pytest.mark.parametrize(
    ("server", "changes", "told"),
    [
        (TieredServer(keeps=False), {}, "9 of 9 prompts that were put out of HBM were computed again"),
        (TieredServer(keeps=True, pool_tokens=10**9), {}, "found as fast as in it"),
        (TieredServer(keeps=True, reports=False), {}, "does not say what is cached"),
        (TieredServer(keeps=True), {"pool_tokens": None}, "size of the KV pool is not known"),
        (TieredServer(keeps=True), {"engines": 2}, "2 engines"),
        (TieredServer(keeps=True), {"pool_tokens": 10**8}, "to fill the KV pool would take"),
        (TieredServer(keeps=True), {"pool_tokens": 500}, "prompts of 62 tokens"),
    ],
)
def test_where_no_tier_is_seen_it_says_why(server: TieredServer, changes: dict[str, Any], told: str) -> None:
    found = probed(server, **changes)
    assert told in found.told and found.probes == ()


def test_a_load_shorter_than_a_line_says_has_no_negative_latency() -> None:
    rows = [(seconds, 100) for seconds in (0.01, 0.01, 0.01)], [(seconds, 1_000) for seconds in (0.01,) * 3]
    hits = [*rows[0], *rows[1]]
    again = [(0.0101, 100)] * 3 + [(0.02, 1_000)] * 3
    found = lower_of([100, 1_000], hits, hits, again)
    assert found.latency_s == 0.0 and found.token_s == pytest.approx(1e-5, rel=0.05)


@pytest.mark.parametrize(
    ("hits_s", "again_s", "is_seen"),
    [
        # The server answers in microseconds, or waits for its next turn: hits in HBM, both times.
        ((0.0006, 0.00003, 0.0007), (0.0006, 0.0005, 0.0007), False),
        ((0.0006, 0.00003, 0.0007), (0.3, 0.301, 0.299), True),
        ((1e-6, 1e-6, 1e-6), (0.3, 0.3, 0.3), True),
        ((0.010, 0.0101, 0.0102), (0.0102, 0.0104, 0.0103), False),
    ],
)
def test_what_repeats_of_a_hit_are_apart_is_no_load(
    hits_s: tuple[float, ...], again_s: tuple[float, ...], is_seen: bool
) -> None:
    hits, again = ([(seconds, 96) for seconds in each] for each in (hits_s, again_s))
    found = lower_of([100], hits, hits, again)
    assert bool(found.probes) == is_seen, found.told
    if is_seen:
        assert found.latency_s + 96 * found.token_s == pytest.approx(0.299, rel=0.01)


@pytest.mark.parametrize("tiers", [[{"name": "dram", "read_latency_s": 0.3}], []])
def test_a_served_fleet_is_asked_about_its_tiers(tiers: list[dict[str, Any]]) -> None:
    fleet = FleetConfig.model_validate(
        {
            "max_model_len": 2_048,
            "recompute_when_faster": False,
            "cost": {"kind": "simple", "prefill_tokens_per_s": 50_000, "kv_capacity_tokens": 8_000},
            "tiers": [{"name": "hbm"}, *tiers],
        }
    )

    async def asked(port: int) -> Lower:
        config = TargetConfig(urls=(f"http://127.0.0.1:{port}",), model="emulated", api="completions")
        target = OpenAITarget(config=config, seed=1, run_id="lower")
        prober = Prober(target, pause_s=0.0)
        rates = Rates(1 / 50_000, 0.0, 0.0, 0.0, 0.01, 0.0, 0.0)
        known = prober.fresh(500)
        try:
            for _ in range(2):
                await prober.send(known, 1)
            return await lower_tier(prober, rates, longest_tokens=1_000, pool_tokens=8_000, engines=1)
        finally:
            await target.close()

    with served(fleet, 0) as port:
        found = asyncio.run(asked(port))
    assert len(found.probes) == 3 * len(tiers), found.told
