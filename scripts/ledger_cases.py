"""Published cases of caches and tiers, each played on the twin: what was set up, predicted, measured."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean, quantiles
from typing import Any

import yaml

from swarm.config.fleet import FleetConfig
from swarm.context.tree import Prompt, root
from swarm.fleet.build import build_fleet
from swarm.fleet.cost.base import Chunk
from swarm.fleet.cost.rank_cost import RankCost, rank_cost
from swarm.fleet.events import Finished, FirstToken, FleetRequest

CHUNK_TOKENS = 8192
SEED = 1
GIB = 2**30
OFFLOAD_ROUTERS: tuple[dict[str, Any], ...] = (
    {
        "router": "scored",
        "router_scores": {
            "queue": 2,
            "kv_usage": 2,
            "prefix": 1,
            "lower_prefix": 1,
            "prefix_tokens_max": 4096,
        },
    },
    {"router": "scored"},
    {"router": "prefix_aware"},
    {"router": "least_loaded"},
)
"""The first is the guide's; the scheduler looked at 256 blocks of 16 tokens unless told otherwise."""
OFFLOAD_SEEDS = (1, 2, 3)
"""Of the order of prompts: a mean TTFT differs by a quarter between them."""
PCIE_GIB_PER_S = 46.6
"""Of one Hopper GPU, one direction: about 50 GB/s (vLLM blog 2026-01-08, blocks of 2 MB)."""
ENGINE_SEQUENCES = {"vllm": 1024, "sglang": 2048}
"""Sequences of a step at most where nothing is stated: vLLM on GPUs of 70 GiB or more (vllm-project/vllm pull
request 17073), and the least of SGLang's (`max_num_reqs`)."""
ENGINE_MEMORY = {"vllm": 0.95, "sglang": 0.9}
"""The guide's server files: `--gpu-memory-utilization` and `--mem-fraction-static`."""
WARM_GAP_S, SEND_GAP_S = 1.0, 0.1
"""Between prompts that warm a fleet, and at least between any two sends."""


@dataclass(frozen=True)
class Line:
    """One figure of a case; `swept` are predictions under other guesses."""

    what: str
    predicted: float
    measured: float
    swept: tuple[float, ...] = ()


@dataclass(frozen=True)
class Case:
    """One published case."""

    name: str
    source: str
    setup: str
    noise: str
    assumed: str
    lines: list[Line]


@dataclass(frozen=True)
class Sent:
    """What came of a request."""

    ttft_s: float
    e2e_s: float
    end_s: float
    hit_tokens: int
    prompt_tokens: int
    output_tokens: int


@dataclass
class Player:
    """A fleet, and whoever sends to it: at most `parallel` requests are open, each for `timeout_s`."""

    config: FleetConfig
    parallel: int
    timeout_s: float = math.inf
    now_s: float = 0.0
    sent: list[Sent] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Build the fleet."""
        self._fleet = build_fleet(self.config)
        self._number = 0

    def play(self, requests: list[tuple[float, Prompt, int]], *, limit_s: float = 1e9) -> list[Sent]:
        """Send requests, each not before its time, in order; return when all have ended."""
        waiting = list(reversed(requests))
        open_: dict[int, tuple[float, Prompt, int]] = {}
        first: dict[int, FirstToken] = {}
        done: list[Sent] = []
        while waiting or open_:
            while waiting and len(open_) < self.parallel and waiting[-1][0] <= self.now_s:
                _, prompt, output = waiting.pop()
                self._number += 1
                open_[self._number] = (self.now_s, prompt, output)
                name = f"{prompt.node.name}"
                self._fleet.submit(FleetRequest(self._number, name, name, prompt, output, True), self.now_s)
            due = self._fleet.next_event_s()
            nexts = [] if due is None else [due]
            if waiting and len(open_) < self.parallel:
                nexts.append(waiting[-1][0])
            if open_:
                nexts.append(next(iter(open_.values()))[0] + self.timeout_s)
            self.now_s = max(self.now_s, min(nexts))
            for event in self._fleet.advance(self.now_s):
                if isinstance(event, FirstToken):
                    first[event.request_id] = event
                elif isinstance(event, Finished):
                    start_s, _, output = open_.pop(event.request_id)
                    head = first.pop(event.request_id)
                    cache = head.cache
                    done.append(
                        Sent(
                            head.at_s - start_s,
                            event.at_s - start_s,
                            event.at_s,
                            cache.cached_tokens,
                            cache.prompt_tokens,
                            output,
                        )
                    )
            while open_ and next(iter(open_.values()))[0] + self.timeout_s <= self.now_s:
                oldest = next(iter(open_))
                self._fleet.cancel(oldest, self.now_s)
                del open_[oldest]
                first.pop(oldest, None)
            if self.now_s > limit_s:
                break
        return done


def fleet_of(text: str) -> FleetConfig:
    """Return a fleet from YAML."""
    return FleetConfig.model_validate(yaml.safe_load(text))


def mean_ttft(sent: list[Sent]) -> float:
    """Return the mean TTFT."""
    return fmean(one.ttft_s for one in sent)


def mean_e2e(sent: list[Sent]) -> float:
    """Return the mean of whole requests."""
    return fmean(one.e2e_s for one in sent)


def hit_rate(sent: list[Sent]) -> float:
    """Return hit over prompt tokens."""
    return sum(one.hit_tokens for one in sent) / sum(one.prompt_tokens for one in sent)


def alone_s(rank: RankCost, start: int, tokens: int) -> float:
    """Return the TTFT of one request alone: its queue, and the steps of what is not cached."""
    seconds = rank.entry.seconds + rank.entry.token_s * tokens
    for at in range(start, tokens, CHUNK_TOKENS):
        seconds += rank.cost.step_s([Chunk(at, min(CHUNK_TOKENS, tokens - at))], 0, 0)
    return seconds


def by_length(case: dict[str, Any]) -> Case:
    """Play one prompt at a time on an H20: computed, in HBM, in DRAM."""
    config = fleet_of(
        "{block_tokens: 16, cost: {kind: roofline, model: Qwen3-Coder-30B-A3B, precision: bf16, "
        "kv_precision: bf16, backend: vllm, eager: true}, replicas: [{gpu: H20}]}"
    )
    rank = rank_cost(config, config.replicas[0])
    points, setup = case["points"], case["setup"]
    lines = []
    for length in points["miss_ttft_p50_s"]:
        lines.append(
            Line(
                f"TTFT {length}, computed, s",
                alone_s(rank, 0, int(length)),
                points["miss_ttft_p50_s"][length],
            )
        )
    for length, measured in points["gpu_hit_ttft_p50_s"].items():
        tokens = int(length)
        lines.append(Line(f"TTFT {length}, HBM hit, s", alone_s(rank, tokens - 16, tokens), measured))
    for length, measured in points["cpu_hit_ttft_p50_s"].items():
        tokens = int(length)
        gib_per_s = setup["h2d_gbps"][length] * 1e9 / GIB
        by_connector, raw = (
            evicted_s(config, tokens, setup["kv_bytes_per_token"], gib_per_s, connector)
            for connector in ("vllm_offloading", None)
        )
        lines.append(Line(f"TTFT {length}, DRAM hit, s", by_connector, measured, (raw,)))
    return case_of(
        case,
        lines,
        "nothing; DRAM hits at the stated rate of copies, connector vllm_offloading (swept: none)",
    )


def evicted_s(
    config: FleetConfig, tokens: int, token_bytes: float, gib_per_s: float, connector: str | None
) -> float:
    """Return the TTFT of a prompt that another one has put out of HBM."""
    tiers = [
        {"name": "hbm", "capacity_gib": (tokens + 32) * token_bytes / GIB},
        {"name": "dram", "link_gib_per_s": gib_per_s, "connector": connector},
    ]
    stated = config.model_dump(exclude_unset=True) | {"tiers": tiers, "recompute_when_faster": False}
    player = Player(FleetConfig.model_validate(stated), 1)
    prompts = [root(name).extend(tokens) for name in ("first", "other")]
    return player.play([(1000.0 * at, prompts[which], 1) for at, which in enumerate((0, 1, 0))])[-1].ttft_s


def rounds(
    player: Player, clients: int, count: int, request: int, output: int, echo: bool
) -> Iterator[list[Sent]]:
    """Yield the rounds of bench_multiturn: every client appends to its history; a barrier after each."""
    rng = random.Random(SEED)
    prompts = [root(f"client-{one}") for one in range(clients)]
    for _ in range(count):
        order = list(range(clients))
        rng.shuffle(order)
        for one in order:
            prompts[one] = prompts[one].extend(request)
        yield player.play([(0.0, prompts[one], output) for one in order])
        if echo:
            prompts = [prompt.extend(output) for prompt in prompts]


def hicache(case: dict[str, Any]) -> Case:
    """Play rounds over HBM, HBM and DRAM, HBM, DRAM and a pool."""
    tokens_gib = {tokens: tokens * 2 * 94 * 4 * 128 * 2 / GIB for tokens in (160_000, 190_000, 623_338)}
    load = case["workload"]

    def arm(l1: int, dram: bool, pool: bool) -> list[list[Sent]]:
        tiers: list[dict[str, Any]] = [{"name": "hbm", "capacity_gib": tokens_gib[l1]}]
        if dram:
            # Beside the pool: --hicache-ratio 2; else --hicache-size 30.
            sized = {"capacity_of_hbm": 2} if pool else {"capacity_gib": tokens_gib[623_338]}
            tiers.append({"name": "dram", **sized, "connector": "hicache"})
        if pool:
            tiers.append(
                {
                    "name": "pooled_dram",
                    "capacity_gib": 708,
                    "scope": "cluster",
                    "connector": "hicache_storage",
                }
            )
        config = FleetConfig.model_validate(
            {
                "block_tokens": 64,
                "cost": {
                    "kind": "roofline",
                    "model": "Qwen3-235B-A22B",
                    "precision": "bf16",
                    "backend": "sglang",
                },
                "replicas": [{"gpu": "H800", "parallelism": {"tp": 8}}],
                "tiers": tiers,
                "links": {"gpu_gib_per_s": PCIE_GIB_PER_S},
            }
        )
        player = Player(config, load["max_parallel"])
        return list(
            rounds(
                player, load["clients"], load["rounds"], load["request_length"], load["output_length"], False
            )
        )

    lines = []
    for name, dram, pool in (("gpu", False, False), ("l2", True, False), ("mooncake", True, True)):
        played, other = arm(190_000, dram, pool), arm(160_000, dram, pool)
        for number in (1, 2, 3, 4, 5, 7, 10):
            at = number - 1
            hit, ttft_s = case["points"]["hit"][name][at], case["points"]["ttft_avg_s"][name][at]
            lines.append(
                Line(f"{name}, round {number}: hit rate", hit_rate(played[at]), hit, (hit_rate(other[at]),))
            )
            lines.append(
                Line(
                    f"{name}, round {number}: TTFT, s", mean_ttft(played[at]), ttft_s, (mean_ttft(other[at]),)
                )
            )
    return case_of(
        case,
        lines,
        "HBM 190,000 tokens (swept: 160,000); bf16; connectors hicache and hicache_storage, PCIe "
        f"{PCIE_GIB_PER_S} GiB/s a GPU",
    )


def collapse(case: dict[str, Any]) -> Case:
    """Play rounds over HBM alone: 262,144 tokens, 128 clients."""
    load = case["workload"]

    def arm(parallel: int) -> list[list[Sent]]:
        config = fleet_of(
            "{block_tokens: 64, cost: {kind: simple, prefill_tokens_per_s: 20000, kv_bytes_per_token: 1024, "
            "kv_capacity_tokens: 262144}}"
        )
        player = Player(config, parallel)
        sizes = load["clients"], load["rounds"], load["request_length"], load["output_length"]
        return list(rounds(player, *sizes, True))

    played, other = arm(8), arm(32)
    lines = [
        Line(f"round {at}: hit rate", hit_rate(played[at]), hit, (hit_rate(other[at]),))
        for at, hit in enumerate(case["points"]["l1"]["hit"])
    ]
    return case_of(
        case, lines, "8 requests at once (swept: 32): the rate of sends; no TTFT, the GPU is not stated"
    )


def offload(case: dict[str, Any]) -> Case:
    """Play 45 shared prefixes on eight replicas with a small pool, with and without DRAM."""
    load, setup = case["workload"], case["setup"]

    def arm(prefix: int, dram: bool, router: dict[str, Any], seed: int) -> list[Sent]:
        token_gib = 64 * 2 * 8 * 128 * 2 / GIB
        tiers = [{"name": "hbm", "capacity_gib": setup["kv_pool_tokens_per_replica"] * token_gib}]
        if dram:
            tokens = setup["cpu_blocks_per_replica"] * 16
            tiers.append(
                {
                    "name": "dram",
                    "capacity_gib": tokens * token_gib,
                    "connector": "vllm_offloading_0.11",
                }
            )
        config = FleetConfig.model_validate(
            {
                "cost": {"kind": "roofline", "model": "Qwen3-32B", "precision": "bf16", "backend": "vllm"},
                "replicas": [{"gpu": "H100", "parallelism": {"tp": 2}, "count": setup["replicas"]}],
                "tiers": tiers,
                "links": {"gpu_gib_per_s": PCIE_GIB_PER_S},
                **router,
            }
        )
        shared = [root(f"group-{one}").extend(prefix) for one in range(load["groups"])]
        prompts = [
            shared[group].branch(f"{group}-{number}").extend(load["question"])
            for number in range(load["prompts_per_group"])
            for group in range(load["groups"])
        ]
        random.Random(seed).shuffle(prompts)
        player = Player(config, load["concurrency"])
        player.play([(at * WARM_GAP_S, prompt, 1) for at, prompt in enumerate(shared)])
        start_s = player.now_s
        return player.play(
            [(start_s + at * SEND_GAP_S, prompt, load["output"]) for at, prompt in enumerate(prompts)]
        )

    lines = []
    for kind, prefix in load["shared_prefix"].items():
        for at, dram in enumerate((False, True)):
            played, *others = (
                [arm(prefix, dram, router, seed) for seed in OFFLOAD_SEEDS] for router in OFFLOAD_ROUTERS
            )
            told = case["points"][kind]
            name = f"{kind} prefix, {told_arm(case, kind, at)}"
            for what, of, key in (
                ("TTFT mean, s", mean_ttft, "ttft_mean_s"),
                ("e2e mean, s", mean_e2e, "e2e_mean_s"),
                ("tok/s, both ways", rate, "tok_s"),
            ):
                figure, *swept = (fmean(of(run) for run in runs) for runs in (played, *others))
                lines.append(Line(f"{name}: {what}", figure, told[key][at], tuple(swept)))
    return case_of(
        case,
        lines,
        "the guide's scores, queue 2, KV usage 2, prefix 1 and 1 for the CPU's, of a prompt's first 4,096 "
        "tokens (swept: prefix 3, queue 2, KV usage 2; prefix_aware; least_loaded), connector "
        f"vllm_offloading_0.11 (of the guide's date), PCIe {PCIE_GIB_PER_S} GiB/s a GPU; each prefix once "
        f"before; means of {len(OFFLOAD_SEEDS)} orders of the prompts",
    )


def told_arm(case: dict[str, Any], kind: str, at: int) -> str:
    """Return an arm's name."""
    arms = case["points"]["high"]["arms"]
    return str(arms[at])


def rate(sent: list[Sent]) -> float:
    """Return tokens a second, prompts' and replies'."""
    tokens = sum(one.output_tokens + one.prompt_tokens for one in sent)
    return tokens / (max(one.end_s for one in sent) - min(one.end_s - one.e2e_s for one in sent))


def ladder(case: dict[str, Any]) -> Case:
    """Play a ladder of rates on eight replicas, routed round robin and by prefix."""
    load, lines = case["workload"], []
    rates = case["setup"]["prefill_tok_s_per_replica"]
    for engine in ENGINE_SEQUENCES:
        sticky = {"router": "sticky", "router_sticky": {"behind_tokens_max": 18 * rates[engine]}}
        blind, smaller = {"router": "round_robin"}, {"pool_tokens": 298_000}
        arms = (
            ("rr", blind, (blind | smaller,)),
            ("aff", sticky, (sticky | smaller, {"router": "scored"}, {"router": "prefix_aware"})),
        )
        for short, router, others in arms:
            played = climb(load, engine, **router)
            swept = [climb(load, engine, **other) for other in others]
            for stage, (per_s, _) in enumerate(load["stages"]):
                if per_s not in (10, 20, 30, 40, 60):
                    continue
                for at, (what, key) in enumerate((("output tok/s", "out"), ("TTFT p90, s", "ttft_p90"))):
                    measured = case["points"][engine][f"{short}_{key}"][stage]
                    name = f"{engine}, {router['router']}, {per_s}/s: {what}"
                    other = tuple(one[stage][at] for one in swept)
                    lines.append(Line(name, played[stage][at], measured, other))
    return case_of(
        case,
        lines,
        "0.95 of the memory for vLLM and 0.9 for SGLang, as the guide's server files state, and engines' own "
        "limits of sequences; prompts from the first on in each stage, as inference-perf sends them; the "
        "guide's router at its defaults (swept: a pool of 298,000 tokens, which another guide of the source "
        "has; scored, prefix 3, queue 2, KV usage 2; prefix_aware). The guide's page has another vLLM run of "
        "the round robin arm: TTFT p90 35.3 s at 20/s, 46.0 at 30/s, 126 at 40/s, 139 at 60/s",
    )


def climb(
    load: dict[str, Any], engine: str, *, pool_tokens: int | None = None, **router: Any
) -> list[tuple[float, float]]:
    """Return output tokens a second and the p90 of TTFT in seconds for each stage of a ladder.

    Each stage sends as many requests as its rate and seconds make, of the same shuffled list from its first
    on, and ends when all have ended (kubernetes-sigs/inference-perf, loadgen/load_generator.py).
    """
    rng = random.Random(SEED)
    shared = [root(f"group-{one}").extend(load["shared_prefix"]) for one in range(load["groups"])]
    prompts = [
        shared[group].branch(f"{group}-{number}").extend(load["question"])
        for number in range(load["prompts_per_group"])
        for group in range(load["groups"])
    ]
    rng.shuffle(prompts)
    pool = {"kv_capacity_tokens": pool_tokens} if pool_tokens else {"memory_fraction": ENGINE_MEMORY[engine]}
    spread = {"parallelism": {"tp": 2}, "count": 8, "max_sequences": ENGINE_SEQUENCES[engine]}
    config = FleetConfig.model_validate(
        {
            "cost": {
                "kind": "roofline",
                "model": "Qwen3-32B",
                "precision": "bf16",
                "backend": engine,
                **pool,
            },
            "replicas": [{"gpu": "H100", **spread}],
            **router,
        }
    )
    player, found = Player(config, 10**6, load["timeout_s"]), []
    warm = load["warmup"]
    for per_s, seconds in [(warm["rate"], warm["seconds"]), *load["stages"]]:
        start_s = when_s = player.now_s + 30
        requests = []
        for number in range(int(per_s * seconds)):
            when_s += rng.expovariate(per_s)
            requests.append((when_s, prompts[number % len(prompts)], load["output"]))
        done = player.play(requests)
        out = sum(one.output_tokens for one in done) / (max(one.end_s for one in done) - start_s)
        found.append((out, quantiles([one.ttft_s for one in done], n=10)[-1]))
    return found[1:]


def case_of(case: dict[str, Any], lines: list[Line], assumed: str) -> Case:
    """Return a case with what its record says of it."""
    setup = "; ".join(
        f"{key} {value}" for key, value in case["setup"].items() if not isinstance(value, dict | list)
    )
    return Case(case["name"], case["source"], setup, case["noise"], assumed, lines)
