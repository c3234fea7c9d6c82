"""Shapes of the experiments' charts, on a few points as shipped: where cliffs are, what is above what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from swarm.commands.sweep import simulate_point
from swarm.config.read import Point, read_experiment, read_points
from swarm.report.sweep.points import PointResult, derived, figure

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
OUTPUT, HITS, TTFT = "throughput.output_tokens_per_s", "cache.hit_rate", "effective_ttft_s.p50"
Points = dict[tuple[str, ...], PointResult]


def results_of(name: str, wanted: Callable[[Point], bool]) -> Points:
    """Simulate some points of an experiment as it is shipped; by their labels."""
    path = EXPERIMENTS / f"{name}.yaml"
    sweep = read_experiment(path, []).sweep
    assert sweep is not None
    found: Points = {}
    for point in filter(wanted, read_points(path, [])):
        files, error = simulate_point(point.experiment, {})
        assert error is None, error
        summary = orjson.loads(files["summary.json"])
        more = derived(point.experiment, summary, sweep.economics)
        found[tuple(point.labels.values())] = PointResult(
            "", point.changes, point.labels, summary, more, None
        )
    return found


def tiers_of(name: str, few: int, many: int) -> Points:
    return results_of(name, lambda point: point.changes["load.agents"] in (few, many))


@pytest.fixture(scope="module")
def decode() -> Points:
    return tiers_of("memory_tiers_decode", 16, 144)


@pytest.fixture(scope="module")
def prefill() -> Points:
    return tiers_of("memory_tiers_prefill", 16, 96)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["decode", "prefill"])
def test_few_agents_find_all_memories_alike(name: str, request: pytest.FixtureRequest) -> None:
    points: Points = request.getfixturevalue(name)
    outputs = [figure(point, OUTPUT) for (_, agents), point in points.items() if agents == "16"]
    assert len(outputs) == 4
    assert max(outputs) < 1.05 * min(outputs)


@pytest.mark.slow
def test_with_many_agents_a_nodes_dram_overflows_and_posix_helps_a_little(decode: Points) -> None:
    output = {tiers: figure(point, OUTPUT) for (tiers, agents), point in decode.items() if agents == "144"}
    # What the cluster shares holds everybody's contexts; a node's DRAM does not. What it gives up, a slow
    # storage holds: that is better than none as long as the router prices its loads.
    shared = min(output["HBM + NVMe grid"], output["HBM + pooled DRAM"])
    assert shared > 1.4 * output["HBM + DRAM + POSIX"] > 1.6 * output["HBM + DRAM"]
    few = {tiers: figure(point, OUTPUT) for (tiers, agents), point in decode.items() if agents == "16"}
    assert all(output[tiers] > 2 * few[tiers] for tiers in few)


@pytest.mark.slow
def test_one_instance_that_prefills_for_all_falls_off_the_cliff_sooner(prefill: Points) -> None:
    output = {tiers: figure(point, OUTPUT) for (tiers, agents), point in prefill.items() if agents == "96"}
    few = {tiers: figure(point, OUTPUT) for (tiers, agents), point in prefill.items() if agents == "16"}
    shared = min(output["HBM + NVMe grid"], output["HBM + pooled DRAM"])
    assert shared > 4 * few["HBM + NVMe grid"]
    # Recomputed contexts keep the instance busy, and others are evicted meanwhile: less than 16 agents get.
    assert output["HBM + DRAM"] < few["HBM + DRAM"]
    assert output["HBM + DRAM"] < output["HBM + DRAM + POSIX"] < shared / 4


@pytest.mark.slow
def test_hits_and_short_contexts_give_more_output_and_zones_follow_from_prices() -> None:
    points = results_of(
        "cache_hit_curve",
        lambda point: (
            point.changes["workload.prompt_tokens"] != 32_000
            and point.changes["workload.new_share"] in (1.0, 0.02)
        ),
    )
    for replicas in ("2 aggregated", "1 prefill + 1 decode"):
        output = {
            labels[1:]: figure(point, OUTPUT) for labels, point in points.items() if labels[0] == replicas
        }
        for tokens in ("8000", "128000"):
            assert output["98 %", tokens] > 2 * output["0 % can hit", tokens]
        for share in ("0 % can hit", "98 %"):
            assert output[share, "8000"] > 4 * output[share, "128000"]
    for point in points.values():
        earns = figure(point, "money.revenue_per_cost")
        assert figure(point, "money.zone") == ("A" if earns < 0.9 else "C" if earns > 1.1 else "B")
    zones = {labels: figure(point, "money.zone") for labels, point in points.items()}
    # All input is new and paid for as such: short prompts earn, and one instance that prefills 128k loses.
    assert zones["2 aggregated", "0 % can hit", "8000"] == "C"
    assert zones["1 prefill + 1 decode", "0 % can hit", "128000"] == "A"


def test_the_longer_the_ttl_the_more_hits_and_the_fewer_prefills() -> None:
    points = results_of("ttl_tiers", lambda point: point.changes["load.agents"] == 8)
    order = [points[ttl, "8 agents"] for ttl in ("1 min", "5 min", "1 h", "none")]
    hits = [figure(point, HITS) for point in order]
    again = [figure(point, "cache.reprefill_mean") for point in order]
    assert hits[0] < hits[1] < hits[2] <= hits[3]
    assert again[0] > again[1] > again[2] >= again[3] >= 1.0
    # People wait for minutes: five of them save most of what one minute loses, an hour nearly all.
    assert again[0] - again[1] > again[1] - again[2]
    assert again[2] < 1.1


def test_a_prefill_cluster_is_full_sooner_when_prompts_go_round_in_turn() -> None:
    points = results_of("prefill_cluster", lambda point: point.changes["load.agents"] in (32, 128))

    def of(router: str, agents: str, dotted: str) -> float:
        return float(figure(points[router, agents], dotted))

    prompts = "throughput.prompt_tokens_per_s"
    # By prefix 32 clients think for longer than they wait: they do not fill the nodes, and 128 do.
    for agents, times in (("32", 2.0), ("128", 3.0)):
        assert of("by prefix", agents, HITS) > of("in turn", agents, HITS) + 0.25
        assert of("by prefix", agents, prompts) > times * of("in turn", agents, prompts)
    # Full: four times as many clients get no more, and wait.
    assert of("in turn", "128", prompts) < 1.1 * of("in turn", "32", prompts)
    assert of("in turn", "128", TTFT) > 4 * of("in turn", "32", TTFT)
