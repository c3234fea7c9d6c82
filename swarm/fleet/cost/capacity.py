"""The tokens whose KV fits beside a model's weights."""

from __future__ import annotations

from swarm.config.catalog import Part, RooflineConstants
from swarm.fleet.cost.kernels import KV_BYTES
from swarm.fleet.cost.model import kv_values_per_gpu, weight_bytes, weights_of
from swarm.fleet.cost.served import Served
from swarm.fleet.cost.terms import ACTIVATION_BYTES


def kv_capacity_tokens(
    served: Served, constants: RooflineConstants, *, memory_fraction: float, max_batched_tokens: int
) -> int:
    """Return the tokens whose KV fits beside weights and activations on one rank; none if negative."""
    model, spread = served.model, served.parallelism
    gpus = spread.tp * spread.dp * spread.pp
    weights = weights_of(model)
    # What makes latent vectors is on every GPU.
    held = weights.copied + (weights.attention - weights.copied) / spread.tp
    per_gpu = held * weight_bytes(model, "attention", served.precision) / spread.pp
    counts: dict[Part, int] = {
        "dense": weights.dense,
        "experts": weights.experts,
        "shared": weights.shared,
    }
    for part, count in counts.items():
        per_gpu += count * weight_bytes(model, part, served.precision) / gpus
    per_gpu += 2.0 * (weights.head + weights.embedding) / spread.tp
    activations = constants.activation_bytes + 2.0 * ACTIVATION_BYTES * model.hidden * max_batched_tokens
    left = served.gpu.memory_bytes.value * memory_fraction - per_gpu - activations
    token_bytes = kv_values_per_gpu(model, spread.tp) * KV_BYTES[served.kv_precision] / spread.pp
    return int(left / token_bytes)
