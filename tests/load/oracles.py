"""Emulated fleets whose capacity is known in closed form, with its derivation.

Each takes a seed, from which the truth is drawn as well, so that no search can be tuned to one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm.config.experiment import Experiment
from swarm.streams import stream

PROMPT = 512


@dataclass(frozen=True)
class Oracle:
    """A fleet, and the most agents within its objective."""

    experiment: Experiment
    truth: int


def decode(seed: int) -> Oracle:
    """Limit decoding: n agents that think for next to no time keep n sequences in the batch.

    A step of k sequences takes base + more * (k - 1) and gives each a token. Of the m + 1 steps from one
    request to the next an agent is in m - 1: its first token is the prefill's, and it joins a step late. So k
    is n * (m - 1) / (m + 1) on average and n at most, and with m = 400 and n <= 40 the TPOT passes
    base + more * (N - 1/2), that of k = N + 1/2, at n = N + 1 and never at n = N. Prompts are cached.
    """
    chance = stream(seed, "oracle", "decode")
    truth = int(chance.integers(4, 40))
    base_s, more_s = 0.01, 0.001
    workload = {"prompts": 8, "output_tokens": 400, "think_s": {"median": 1e-4, "sigma": 1.0}}
    cost = {"prefill_tokens_per_s": 1e9, "decode_base_s": base_s, "decode_per_sequence_s": more_s}
    bound_s = base_s + more_s * (truth - 0.5)
    return _oracle(seed, truth, workload, cost, {"metric": "tpot_s", "at_most": bound_s}, hold_s=300.0)


def prefill(seed: int) -> Oracle:
    """Limit prefill: one new prompt a step, S seconds each, in cycles of a think time Z and a service.

    A server with nothing but such cycles serves n <= (Z + S) / S agents without waiting, once their phases
    have spread out: as many services as fit into one cycle. One agent more makes the cycle n * S, so each
    request waits n * S - (Z + S) > 0 on average. With (Z + S) / S = N + 1/2 a request of N + 1 waits S / 2;
    the bound lies at S / 4, beyond what the think times' spread (a thousandth) makes anyone wait among N.
    """
    chance = stream(seed, "oracle", "prefill")
    truth = int(chance.integers(4, 60))
    service_s = 0.1
    think_s = (truth + 0.5) * service_s - service_s
    workload = {"prompts": 8, "new_share": 1.0, "think_s": {"median": think_s, "sigma": 0.001}}
    cost = {"prefill_tokens_per_s": PROMPT / service_s, "decode_base_s": 0.01}
    objective = {"metric": "effective_ttft_s", "at_most": 1.25 * service_s}
    return _oracle(seed, truth, workload, cost, objective, hold_s=60.0, max_batched_tokens=PROMPT)


def pool(seed: int) -> Oracle:
    """Limit the KV pool: agents in turn ask prompts of their own, in a cycle over n prompts of L tokens.

    LRU holds a whole cycle of n * L <= C tokens. Of a longer one it holds none of what is asked next but the
    part by which the overflow falls short of a prompt: the deepest blocks go first. With C = N * L and a few
    blocks, N + 1 agents compute nearly all of each prompt, L / rate seconds; a hit computes one block. The
    bound lies between. The think times have next to no spread, so the order stays a cycle.
    """
    chance = stream(seed, "oracle", "pool")
    truth = int(chance.integers(4, 60))
    workload = {"own": True, "prompts": 1, "think_s": {"median": 20.0, "sigma": 0.0001}}
    cost = {"prefill_tokens_per_s": 10_000.0, "decode_base_s": 0.01}
    cost["kv_capacity_tokens"] = truth * PROMPT + 64
    objective = {"metric": "ttft_s", "at_most": 0.5 * PROMPT / 10_000}
    return _oracle(seed, truth, workload, cost, objective, hold_s=200.0, ramp_s=19.0)


def blend(seed: int) -> Oracle:
    """Limit the share of hits: n agents draw at random from k prompts each, of which the pool holds C in all.

    Requests are drawn alike from n * k prompts, whatever came before, so LRU holds any of them with chance
    C / (n * k). A hit computes one block and a miss a whole prompt, much faster than anyone asks: the share
    of requests within a TTFT between the two is that chance. It is at least 1/2 up to n = 2 * C / k. With
    C = k * N / 2 + k / 5 that is N + 0.4.
    """
    chance = stream(seed, "oracle", "blend")
    truth = int(chance.integers(4, 16))
    own = 10
    held = own * truth // 2 + own // 5
    workload = {"own": True, "prompts": own, "order": "random", "think_s": {"median": 1.0, "sigma": 0.5}}
    rate = 1e7
    cost = {"prefill_tokens_per_s": rate, "decode_base_s": 0.01, "kv_capacity_tokens": held * PROMPT + 64}
    objective = {"metric": "ttft_s", "quantile": 0.5, "at_most": 0.5 * PROMPT / rate}
    return _oracle(seed, truth, workload, cost, objective, hold_s=100.0)


ORACLES = {"decode": decode, "prefill": prefill, "pool": pool, "blend": blend}


def _oracle(
    seed: int,
    truth: int,
    workload: dict[str, Any],
    cost: dict[str, Any],
    objective: dict[str, Any],
    *,
    hold_s: float,
    ramp_s: float = 1.0,
    max_batched_tokens: int = 8192,
) -> Oracle:
    data = {
        "name": "oracle",
        "seed": seed,
        "workload": {"kind": "prompt_set", "prompt_tokens": PROMPT, "turns": 1_000_000, **workload},
        "load": {
            "ramp_s": ramp_s,
            "search": {"agents_from": 4, "agents_max": 256, "hold_min_s": hold_s, "hold_max_s": hold_s * 8},
        },
        "slo": [{"quantile": 0.9, **objective}],
        "fleet": {
            "cost": {"kind": "simple", **cost},
            "replicas": [{"max_batched_tokens": max_batched_tokens}],
        },
    }
    return Oracle(Experiment.model_validate(data), truth)


def is_covered(answer: dict[str, Any], truth: int) -> bool:
    """Return whether an answer's interval holds the truth and is no wider than max(2 agents, 10 %)."""
    low, high = answer["agents_low"], answer["agents_high"]
    return high is not None and low <= truth <= high and high - low <= max(2, 0.1 * truth)
