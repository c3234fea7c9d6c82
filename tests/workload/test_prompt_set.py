"""Prompts in a cycle or at random, against what an LRU must make of them."""

import itertools

import pytest

from swarm.config.experiment import Experiment
from swarm.config.workload import GrowthConfig, LognormalConfig, PromptSetConfig
from swarm.sim.run import simulate
from swarm.workload.agent import SharedNodes
from swarm.workload.prompt_set import _thinks, prompt_index, prompt_of, prompts_at

BLOCK, PROMPT_BLOCKS = 16, 64
PROMPT = BLOCK * PROMPT_BLOCKS


def hit_rate(prompts: int, held: float, order: str, *, new_share: float = 0.0, requests: int = 3000) -> float:
    """Return the hit rate of the second half; the pool holds `held` prompts beside the one at work."""
    experiment = Experiment.model_validate(
        {
            "name": "t",
            "workload": {
                "kind": "prompt_set",
                "prompts": prompts,
                "prompt_tokens": PROMPT,
                "order": order,
                "new_share": new_share,
            },
            "load": {"agents": 1, "ramp_s": 0, "sessions_max": requests, "duration_s": None},
            "fleet": {"cost": {"kind": "simple", "kv_capacity_tokens": int((held + 1) * PROMPT)}},
        }
    )
    rows = simulate(experiment, ()).rows.slice(requests // 2)
    return sum(rows.column("cached_tokens").to_pylist()) / sum(rows.column("prompt_tokens").to_pylist())


def test_a_cycle_that_fits_hits_all_but_the_block_that_must_be_computed() -> None:
    assert hit_rate(20, 20, "sequential") == pytest.approx(1 - 1 / PROMPT_BLOCKS)


def test_a_cycle_that_overflows_by_a_prompt_never_hits() -> None:
    assert hit_rate(22, 20, "sequential") == 0.0


def test_random_sampling_hits_capacity_over_working_set() -> None:
    assert hit_rate(40, 20, "random") == pytest.approx(20 / 40, abs=0.03)


def test_new_tokens_never_hit() -> None:
    assert hit_rate(10, 30, "sequential", new_share=0.25) == pytest.approx(0.75)


def test_a_set_grows_in_steps_up_to_all_prompts() -> None:
    config = PromptSetConfig(prompts=10, grows=GrowthConfig(first=4, step=4, every_requests=100))
    assert [prompts_at(config, request) for request in (0, 99, 100, 199, 200, 10_000)] == [4, 4, 8, 8, 10, 10]


def test_a_cycle_asks_every_prompt_in_turn() -> None:
    config = PromptSetConfig(prompts=3)
    assert [prompt_index(config, 1, request) for request in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_random_prompts_come_from_the_seed_and_cover_the_set() -> None:
    config = PromptSetConfig(prompts=5, order="random")
    drawn = [prompt_index(config, 1, request) for request in range(200)]
    assert drawn == [prompt_index(config, 1, request) for request in range(200)]
    assert set(drawn) == set(range(5))


@pytest.mark.parametrize(("share", "tokens"), [(0.0, 0), (0.3, 30), (1.0, 100)])
def test_a_prompt_ends_in_its_own_share_of_new_tokens(share: float, tokens: int) -> None:
    config = PromptSetConfig(prompt_tokens=100, new_share=share)
    path = prompt_of(config, SharedNodes(), 3, "s1", 0).path()
    assert sum(part.end - part.start for part in path if part.node.name == "s1#0") == tokens
    assert path[-1].end == 100


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_agents_may_not_think_at_all(sigma: float) -> None:
    config = PromptSetConfig(think_s=LognormalConfig(median=0, sigma=sigma))
    thinks = itertools.islice(_thinks(config, 1, "s0"), 5)
    assert list(thinks) == [0.0] * 5
