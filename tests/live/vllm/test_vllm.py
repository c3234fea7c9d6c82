"""A real engine: hits, counters, calibration and a small capacity search, held to vLLM: `pytest -m vllm`.

vLLM's CPU build and a model without trained weights; the first run installs some gigabytes. Hits and counts
are exact. Times are held by `swarm calibrate` itself, which writes nothing where its prediction is out.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from swarm.config.fleet import FleetConfig, SimpleCostConfig
from swarm.config.target import TargetConfig
from swarm.context.tree import Node, Prompt
from swarm.fleet.rehearsal import Part, rehearse
from swarm.live.probing.heldout import played
from swarm.live.probing.pool import filled
from swarm.live.probing.prober import Prober
from swarm.live.targets.control import ControlPlane, resolve
from swarm.live.targets.facts import ServerFacts, reply_facts, server_facts
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn
from swarm.measure.totals import ServerCounters
from swarm.streams import stream
from tests.live.vllm import engine

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]

POOL_TOKENS = engine.POOL_BLOCKS * engine.BLOCK_TOKENS
FLEET = FleetConfig(
    block_tokens=engine.BLOCK_TOKENS,
    max_model_len=engine.CONTEXT_TOKENS,
    cost=SimpleCostConfig(kv_capacity_tokens=POOL_TOKENS),
)


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of an environment that has vLLM."""
    try:
        return engine.python()
    except engine.NoEngine as fault:
        pytest.skip(str(fault))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model's files are."""
    return tmp_path_factory.mktemp("vllm")


@pytest.fixture(scope="module")
def url(python: Path, folder: Path) -> Iterator[str]:
    """A vLLM that serves a tiny model; it sleeps where it waits: two cores are for the client too."""
    size = replace(engine.TINY, spins=False)
    with engine.running(python, folder / "model", folder / "log", size=size) as found:
        yield found


def swarm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "swarm", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def in_turns(seed: int, *, contexts: int, requests: int) -> list[Part]:
    """Return the requests of agents whose contexts grow, one at a time, now this one's and now that one's."""
    chance = stream(seed, "in turns", "all")
    shared = Prompt(Node(f"shared/{seed}"), 700)
    prompts = [
        shared.branch(f"own/{seed}/{k}").extend(int(chance.integers(500, 2_000))) for k in range(contexts)
    ]
    parts = []
    for _ in range(requests):
        k = int(chance.integers(contexts))
        prompts[k] = prompts[k].extend(int(chance.integers(1, 400)))
        if prompts[k].length > engine.CONTEXT_TOKENS // 2:
            prompts[k] = shared.branch(f"own/{seed}/{k}/{len(parts)}").extend(500)
        parts.append(Part(0.0, prompts[k], int(chance.integers(1, 40))))
    return parts


async def sent(url: str, parts: list[Part]) -> tuple[list[int | None], ServerCounters, ServerCounters]:
    """Return what of each prompt was cached, and the server's counters before and after."""
    config = await resolve(TargetConfig(urls=(url,), api="token_ids", token_id_high=4_000))
    target = OpenAITarget(config=config, seed=1, run_id=f"in-turns-{parts[0].prompt.node.name}")
    async with ControlPlane(config) as control:
        before = await control.counters()
        try:
            found = await played(target, [parts])
        finally:
            await target.close()
        after = await control.counters()
    assert before is not None and after is not None
    return [each.cached_tokens for each in found], before, after


def turn(prompt: Prompt, name: str) -> Turn:
    return Turn(
        prompt=prompt,
        output_tokens=40,
        agent="talk",
        session="talk",
        parent=None,
        request_id=name,
        keep_reply=True,
    )


async def facts_of(url: str) -> ServerFacts:
    return await server_facts(await resolve(TargetConfig(urls=(url,))))


def test_it_says_what_it_is(url: str) -> None:
    facts = asyncio.run(facts_of(url))
    assert (facts.dialect, facts.context_tokens) == ("vllm", engine.CONTEXT_TOKENS)
    assert (facts.block_tokens, facts.pool_tokens) == (engine.BLOCK_TOKENS, POOL_TOKENS)


@pytest.mark.parametrize("api", ["chat", "completions", "token_ids"])
def test_its_answers_tell_what_a_run_needs(url: str, api: str) -> None:
    async def asked() -> object:
        data = {"urls": [url], "api": api, "token_id_high": 4_000}
        config = await resolve(TargetConfig.model_validate(data))
        shown = await reply_facts(config, await server_facts(config), nonce=f"answers-{api}")
        return shown.error, shown.streams, shown.usage, shown.cached_usage, shown.exact_output

    assert asyncio.run(asked()) == (None, True, True, True, True)


@pytest.mark.parametrize(("seed", "contexts"), [(1, 3), (2, 12), (3, 30)])
def test_hits_and_counters_are_those_of_the_emulated_cache(url: str, seed: int, contexts: int) -> None:
    """Request for request: contexts that fit the pool, that do not, and by far do not."""
    parts = in_turns(seed, contexts=contexts, requests=120)
    cached, before, after = asyncio.run(sent(url, parts))
    # What earlier tests left there goes before anything of this one: it is older.
    assert cached == [each.cached_tokens for each in rehearse(FLEET, [parts])]
    assert after.hit_tokens - before.hit_tokens == sum(tokens or 0 for tokens in cached)
    assert after.query_tokens - before.query_tokens == sum(part.prompt.length for part in parts)


def test_its_pool_is_found_by_filling_it(url: str) -> None:
    async def found() -> int | None:
        config = await resolve(TargetConfig(urls=(url,), api="token_ids", token_id_high=4_000))
        target = OpenAITarget(config=config, seed=1, run_id="filling")
        prober = Prober(target, pause_s=0.0)
        try:
            pool, _ = await filled(
                prober, longest_tokens=8_000, pool_tokens_max=100_000, block=engine.BLOCK_TOKENS
            )
        finally:
            await target.close()
        return pool

    assert asyncio.run(found()) == pytest.approx(POOL_TOKENS, rel=0.01)


def test_with_its_tokenizer_contexts_of_real_replies_have_their_planned_length(
    url: str, folder: Path
) -> None:
    async def talked() -> tuple[list[int | None], list[int]]:
        data = {"urls": [url], "api": "completions", "tokenizer": str(folder / "model" / "tokenizer.json")}
        target = OpenAITarget(config=await resolve(TargetConfig.model_validate(data)), seed=1, run_id="talk")
        prompt, counted, planned = Prompt(Node("talk"), 200), [], []
        try:
            for k in range(12):
                result = await target.send(turn(prompt, f"talk/{k}"))
                counted.append(result.prompt_tokens)
                planned.append(prompt.length)
                prompt.node.echo(prompt.length, prompt.length + 40, result.reply or "")
                prompt = prompt.extend(40 + 25)
        finally:
            await target.close()
        return counted, planned

    counted, planned = asyncio.run(talked())
    assert counted == planned


def test_agents_in_a_run_hit_what_was_there_to_be_hit(url: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    workload = {
        "kind": "synthetic",
        "high_watermark": 4_000,
        "first_context": {"median": 1_000, "sigma": 0.5},
    }
    workload |= {"tool_think_s": {"median": 0.5, "sigma": 0.5}, "idle_cap_s": 2, "tool_tokens": 300}
    workload |= {"system_tokens": 200}
    data = {
        "name": "engine",
        "seed": 3,
        "target": {"urls": [url], "api": "token_ids", "token_id_high": 4_000},
        "workload": workload,
        "load": {"agents": 2, "warmup_s": 5, "duration_s": 40, "drain_s": 20},
        "block_tokens": engine.BLOCK_TOKENS,
    }
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    done = swarm("run", str(file), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["cache"]["hit_rate"] == pytest.approx(summary["cache"]["ideal_hit_rate"], abs=0.02)


def test_it_is_calibrated_and_predicted(url: str, tmp_path: Path) -> None:
    out = tmp_path / "fleet.yaml"
    done = swarm("calibrate", "--target", url, "--out", str(out))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    fleet = FleetConfig.model_validate(yaml.safe_load(out.read_text(encoding="utf-8")))
    assert (fleet.block_tokens, fleet.max_model_len) == (engine.BLOCK_TOKENS, engine.CONTEXT_TOKENS)
    assert fleet.cost.kv_capacity_tokens == POOL_TOKENS  # type: ignore[union-attr]
    group = fleet.replicas[0]
    assert (group.max_sequences, group.max_batched_tokens) == (engine.SEQUENCES, engine.STEP_TOKENS)


def test_a_small_search_ends_in_an_interval(url: str, tmp_path: Path) -> None:
    file = tmp_path / "seconds.yaml"
    workload = {"kind": "prompt_set", "prompt_tokens": 512, "turns": 50, "output_tokens": 24}
    workload["think_s"] = {"median": 1.0, "sigma": 0.3}
    file.write_text(yaml.safe_dump({"name": "seconds", "workload": workload}), encoding="utf-8")
    slo = ["--slo", "effective_ttft_s p90 <= 0.5"]
    asked = ["--target", url, "--workload", str(file), "--minutes", "2", "--agents-max", "64", *slo]
    done = swarm("capacity", *asked, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    capacity = json.loads((tmp_path / "out" / "summary.json").read_text())["capacity"]
    assert 1 <= capacity["agents_low"] <= (capacity["agents_high"] or 64)
