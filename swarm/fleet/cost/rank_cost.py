"""From a fleet's configuration to what one rank of it costs."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.config.catalog import LinearEntry
from swarm.config.fleet import FleetConfig, ParallelismConfig, ReplicaGroupConfig, RooflineCostConfig
from swarm.errors import ConfigError
from swarm.fleet.catalog.read import constants, find_gpu, find_model, kernels
from swarm.fleet.cost.base import Cost, Entry
from swarm.fleet.cost.capacity import kv_capacity_tokens
from swarm.fleet.cost.kernels import KV_BYTES
from swarm.fleet.cost.model import kv_values_per_gpu, kv_values_per_token
from swarm.fleet.cost.roofline import Roofline
from swarm.fleet.cost.served import Served
from swarm.fleet.cost.simple import SimpleCost
from swarm.fleet.cost.terms import terms_of


@dataclass(frozen=True, slots=True)
class RankCost:
    """What one rank of a group costs, and what its memory leaves for KV."""

    cost: Cost
    kv_bytes_per_token: float
    kv_capacity_tokens: int
    entry: Entry
    layers: int
    kv_shards: float
    """GPUs of a rank over which KV is cut; those that hold copies of the same are one together."""
    step_tokens: float
    """That an engine's step gives a sequence on average; a step of the fleet that decodes is one of them."""


def rank_cost(config: FleetConfig, group: ReplicaGroupConfig) -> RankCost:
    """Return what a rank of a group costs.

    Raises:
        ConfigError: A model or GPU is in no catalogue, or the weights leave no room for KV.
    """
    cost = config.cost
    if isinstance(cost, RooflineCostConfig):
        return roofline_cost(cost, group)
    return RankCost(
        SimpleCost(
            prefill_tokens_per_s=cost.prefill_tokens_per_s,
            prefill_per_context_token_s=cost.prefill_per_context_token_s,
            prefill_chunk_s=cost.prefill_chunk_s,
            prefill_chunk_per_token_s=cost.prefill_chunk_per_token_s,
            prefill_alone_s=cost.prefill_alone_s,
            decode_base_s=cost.decode_base_s,
            decode_per_sequence_s=cost.decode_per_sequence_s,
            decode_per_context_token_s=cost.decode_per_context_token_s,
        ),
        cost.kv_bytes_per_token,
        cost.kv_capacity_tokens // group.parallelism.dp,
        Entry(cost.entry_s, 0.0, cost.entry_per_token_s, cost.entry_alone),
        cost.layers,
        group.parallelism.tp * group.parallelism.pp,
        1.0,
    )


def host_bytes_per_s(config: FleetConfig, group: ReplicaGroupConfig) -> float | None:
    """Return what a GPU's PCIe moves on paper; None where the cost names no GPU, or the catalogue no PCIe."""
    if not isinstance(config.cost, RooflineCostConfig):
        return None
    entry = find_gpu(group.gpu).host_bytes_per_s
    return None if entry is None else entry.value


def roofline_cost(cost: RooflineCostConfig, group: ReplicaGroupConfig) -> RankCost:
    """Return what a rank costs by its model's and its GPU's catalogue entries."""
    served = Served(
        model=find_model(cost.model),
        gpu=find_gpu(group.gpu),
        parallelism=group.parallelism,
        precision=cost.precision,
        kv_precision=cost.kv_precision,
        backend=cost.backend,
        eager=cost.eager,
        speculative=cost.speculative,
    )
    _check_heads(served)
    _check_experts(group.parallelism)
    fitted = constants()
    if cost.kv_capacity_tokens is None:
        capacity = kv_capacity_tokens(
            served, fitted, memory_fraction=cost.memory_fraction, max_batched_tokens=group.max_batched_tokens
        )
    else:
        capacity = cost.kv_capacity_tokens // group.parallelism.dp
    if capacity < 1:
        spread = group.parallelism
        raise ConfigError(
            f"fleet.cost: {served.model.name} in {cost.precision} leaves no HBM for KV on "
            f"{spread.tp * spread.pp * spread.dp} x {served.gpu.name} at memory_fraction "
            f"{cost.memory_fraction}; give more GPUs (parallelism), a smaller precision or a larger GPU"
        )
    return RankCost(
        Roofline(terms_of(served, kernels(), fitted)),
        cost.kv_bytes_per_token or kv_values_per_token(served.model) * KV_BYTES[cost.kv_precision],
        capacity,
        Entry(fitted.entry_s[cost.backend], fitted.entry_steps[cost.backend], fitted.entry_token_s),
        sum(part.layers for part in served.model.attention),
        _kv_shards(served),
        1.0 if cost.speculative is None else cost.speculative.acceptance_length,
    )


def _kv_shards(served: Served) -> float:
    whole = kv_values_per_token(served.model)
    spread = served.parallelism
    # A model of windows and states alone keeps nothing for good: nothing of it is ever cached.
    return spread.pp * (whole / kv_values_per_gpu(served.model, spread.tp) if whole else spread.tp)


def _check_experts(spread: ParallelismConfig) -> None:
    """Refuse experts over more GPUs than there are, or over a part that is cut unevenly."""
    gpus = spread.tp * spread.dp
    if gpus % spread.ep:
        raise ConfigError(
            f"fleet.replicas.parallelism.ep: {spread.ep} GPUs asked for, tp x dp are {gpus}: "
            "ep must divide that"
        )


def _check_heads(served: Served) -> None:
    """Refuse what no engine runs: attention heads that cannot be dealt out evenly."""
    tp = served.parallelism.tp
    for layer in served.model.attention:
        if not isinstance(layer, LinearEntry) and layer.heads % tp:
            raise ConfigError(
                f"fleet.replicas.parallelism.tp: {tp} GPUs asked for, {served.model.name} has {layer.heads} "
                "attention heads: tp must divide them"
            )
