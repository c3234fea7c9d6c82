"""Live equals simulated: the same experiment against a served fleet, on wall time, and in virtual time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from swarm.config.experiment import Experiment
from swarm.config.target import Api
from swarm.live.host import Host
from swarm.live.host_plan import HostPlan
from swarm.measure.latency import tpot_s, ttft_s
from swarm.measure.results import results_of
from swarm.provider import Provider
from swarm.provider.journal import recorded, replay
from swarm.provider.limits import LIMITS
from swarm.records.batch import Batch
from swarm.records.columns import LOST
from swarm.sim.run import simulate

SEEDS = 20
"""Simulations with other starts that a live run under eviction must lie within."""
LOSS_POINTS = 0.02
"""How far the share of the prompt tokens lost to a cause may differ."""
TTFT_SHARE, TTFT_S, TPOT_SHARE = 0.1, 0.003, 0.1
"""How far live medians may lie from simulated ones: the tolerance that docs/fleet.md states."""


def experiment(
    *,
    agents: int,
    sessions: int,
    kv_capacity_tokens: int,
    replies: str,
    ramp_s: float,
    api: Api = "token_ids",
    tool_tokens: int = 90,
) -> Experiment:
    """Return agents that hardly think, on one small replica."""
    return Experiment.model_validate(
        {
            "name": "twin",
            "seed": 5,
            "workload": {
                "kind": "synthetic",
                "replies": replies,
                "tool_tokens": tool_tokens,
                "system_tokens": 33,
                "first_context": {"median": 200, "sigma": 0.5, "least": 50, "most": 600},
                "turns": {"median": 9, "sigma": 0.2, "least": 6, "most": 12},
                "tool_result": {"median": 50, "sigma": 0.8, "least": 5, "most": 200},
                "human_message": {"median": 20, "sigma": 0.5},
                "output": {"median": 12, "sigma": 0.5, "least": 2, "most": 40},
                "tool_think_s": {"median": 0.01, "sigma": 0.3, "least": 0.004, "most": 0.03},
                "idle_cap_s": 0.03,
                "high_watermark": 1000,
                "summary": {"median": 60, "sigma": 0.2, "least": 20, "most": 100},
                "subagents": {
                    "chance_per_turn": 0.2,
                    "overlap_share": 0.0,
                    "fan_out_max": 1,
                    "brief_tokens": {"median": 60, "sigma": 0.5, "least": 10, "most": 200},
                },
            },
            "load": {"agents": agents, "sessions_max": sessions, "ramp_s": ramp_s, "duration_s": None},
            "target": {
                "api": api,
                "tool_definition_tokens": 100,
                "model": "twin",
                # None that the emulated model says: text that goes on as a reply did, by chance, hits.
                "token_id_low": 10_000,
                "token_id_high": 17_191,
                "timeouts": {"total_s": 60},
            },
            "fleet": {
                "block_tokens": 8,
                "cost": {
                    "kind": "simple",
                    "prefill_tokens_per_s": 1e6,
                    "decode_base_s": 2e-4,
                    "kv_bytes_per_token": 1,
                    "kv_capacity_tokens": kv_capacity_tokens,
                },
            },
        }
    )


def live(config: Experiment, journal: Path, **limits: int) -> pa.Table:
    """Run one host against one provider, both on this thread's loop."""

    async def main() -> pa.Table:
        provider = Provider(
            config.fleet, host="127.0.0.1", port=0, journal=journal, limits=replace(LIMITS, **limits)
        )
        await provider.start()
        urls = (f"http://127.0.0.1:{provider.port}",)
        resolved = config.model_copy(update={"target": config.target.model_copy(update={"urls": urls})})
        plan = HostPlan(resolved, host=0, hosts=1, epoch=0, journal=None, follows=(), takeover=None)
        host = Host(plan, ())
        batches: list[Batch] = []
        began_s = time.time()

        async def report(batch: Batch) -> int:
            batches.append(batch)
            return batch.sequence

        try:
            host.begin(began_s)
            await host.run(report)
        finally:
            await host.close()
            await provider.close()
        return results_of(
            batches,
            resolved,
            ended_s=time.time() - began_s,
            faults=(),
            counters=None,
            sessions_asked_mean=None,
            clock_offsets_s={},
        ).rows

    return asyncio.run(asyncio.wait_for(main(), 120))


def hits(rows: pa.Table) -> dict[tuple[str, int], tuple[int, ...]]:
    """Return what each request was, hit and wrote, by agent and turn."""
    assert set(rows.column("outcome").to_pylist()) == {"ok"}
    names = ("prompt_tokens", "cached_tokens", "output_tokens", "written_5m_tokens", "written_1h_tokens")
    values = zip(*(rows.column(name).to_pylist() for name in names), strict=True)
    keys = zip(rows.column("agent").to_pylist(), rows.column("turn").to_pylist(), strict=True)
    return dict(zip(keys, values, strict=True))


def totals(rows: pa.Table) -> dict[str, int]:
    """Return sums over all requests."""
    return {
        name: int(pa.compute.sum(rows.column(name)).as_py())
        for name in ("prompt_tokens", "cached_tokens", "output_tokens")
    }


@pytest.mark.parametrize(
    ("api", "replies"),
    [
        ("token_ids", "planned"),
        ("token_ids", "actual"),
        ("messages", "planned"),
        ("messages", "actual"),
        ("responses", "actual"),
    ],
)
def test_one_at_a_time_every_request_hits_the_same_under_eviction(
    tmp_path: Path, api: Api, replies: str
) -> None:
    has_tools = api != "token_ids"
    config = experiment(
        agents=1,
        sessions=2 if has_tools else 4,
        kv_capacity_tokens=1600,
        replies=replies,
        ramp_s=0,
        api=api,
        # Two tools are declared.
        tool_tokens=240 if has_tools else 90,
    )
    found, expected = hits(live(config, tmp_path / "j")), hits(simulate(config, ()).rows)
    assert found == expected
    assert sum(cached for _, cached, _, *_ in found.values()) > 0


def test_what_breakpoints_cover_outlives_a_shorter_ttl_on_both_clocks(tmp_path: Path) -> None:
    config = experiment(
        agents=1,
        sessions=2,
        kv_capacity_tokens=100_000,
        replies="actual",
        ramp_s=0,
        api="messages",
        tool_tokens=240,
    )
    data = config.model_dump()
    data["fleet"]["tiers"] = [{"name": "hbm", "ttl_s": 1e-4}]
    data["target"]["cache_control"] = {"tools": "1h", "system": "1h"}
    config = Experiment.model_validate(data)
    found, expected = hits(live(config, tmp_path / "j")), hits(simulate(config, ()).rows)
    assert found == expected
    # Of several TTLs the fleet keeps the longest: every agent of a role finds tools and system prompt again.
    assert {cached for _, cached, *_ in found.values()} == {0, 272}


def test_many_at_once_hit_the_same_in_all_where_nothing_is_evicted(tmp_path: Path) -> None:
    config = experiment(agents=12, sessions=24, kv_capacity_tokens=10_000_000, replies="planned", ramp_s=0.5)
    found, expected = live(config, tmp_path / "j"), simulate(config, ()).rows
    assert totals(found) == totals(expected)


def slower(ramp_s: float) -> Experiment:
    """Return a fleet whose times are long against those of a socket, under eviction."""
    config = experiment(agents=8, sessions=12, kv_capacity_tokens=4000, replies="planned", ramp_s=ramp_s)
    data = config.model_dump()
    data["workload"]["tool_think_s"] = {"median": 0.05, "sigma": 0.3, "least": 0.02, "most": 0.15}
    data["workload"]["idle_cap_s"] = 0.15
    data["fleet"]["cost"] |= {"prefill_tokens_per_s": 5e4, "decode_base_s": 2e-3}
    return Experiment.model_validate(data)


@pytest.mark.slow
def test_many_under_eviction_follow_from_their_times_and_lie_among_simulations(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    rows = live(slower(1.0), journal)
    assert recorded(journal) == replay(journal)
    jittered = [simulate(slower(1.0 + 0.02 * (k - SEEDS // 2)), ()).rows for k in range(SEEDS)]
    found, spread = totals(rows), [totals(one) for one in jittered]
    cached = [one["cached_tokens"] for one in spread]
    assert min(cached) <= found["cached_tokens"] <= max(cached)
    assert {one["prompt_tokens"] for one in spread} == {found["prompt_tokens"]}
    simulated = jittered[SEEDS // 2]
    assert np.nanmedian(ttft_s(rows)) == pytest.approx(
        np.nanmedian(ttft_s(simulated)), rel=TTFT_SHARE, abs=TTFT_S
    )
    assert np.nanmedian(tpot_s(rows)) == pytest.approx(np.nanmedian(tpot_s(simulated)), rel=TPOT_SHARE)


def asked_again(*, think_s: float = 0.05, **fleet: object) -> Experiment:
    """Return an agent that asks 24 prompts of 512 tokens at random, of which a pool holds a third."""
    data = experiment(
        agents=1, sessions=100, kv_capacity_tokens=4096, replies="planned", ramp_s=0.1
    ).model_dump()
    data["workload"] = {
        "kind": "prompt_set",
        "prompts": 24,
        "prompt_tokens": 512,
        "order": "random",
        "output_tokens": 8,
        "think_s": {"median": think_s, "sigma": 0.3},
    }
    data["fleet"]["cost"] |= {"prefill_tokens_per_s": 5e4, "decode_base_s": 2e-3}
    data["fleet"] |= fleet
    return Experiment.model_validate(data)


def losses(rows: pa.Table) -> dict[str, float]:
    """Return the share of all prompt tokens that was lost to each cause."""
    assert set(rows.column("outcome").to_pylist()) == {"ok"}
    asked = pa.compute.sum(rows.column("prompt_tokens")).as_py()
    return {name: pa.compute.sum(rows.column(name)).as_py() / asked for name in LOST}


@pytest.mark.parametrize(
    ("config", "cause", "remembered"),
    [
        (asked_again(), "capacity", LIMITS.remembered_bytes_max),
        # Real time adds some milliseconds to each gap: they must be few beside it.
        pytest.param(
            asked_again(think_s=0.2, tiers=[{"name": "hbm", "ttl_s": 2.0}]),
            "ttl",
            LIMITS.remembered_bytes_max,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            asked_again(replicas=[{"count": 2}], router="round_robin"), "routing", 0, marks=pytest.mark.slow
        ),
        pytest.param(slower(1.0), "capacity", 0, marks=pytest.mark.slow),
    ],
    ids=["capacity", "ttl", "routing, forgotten", "agents, forgotten"],
)
def test_what_is_lost_has_the_same_causes_on_the_wire(
    tmp_path: Path, config: Experiment, cause: str, remembered: int
) -> None:
    journal = tmp_path / "j"
    rows, expected = live(config, journal, remembered_bytes_max=remembered), losses(simulate(config, ()).rows)
    assert losses(rows) == pytest.approx(expected, abs=LOSS_POINTS)
    assert recorded(journal) == replay(journal)
    assert expected[f"lost_tokens_{cause}"] > 0.05
