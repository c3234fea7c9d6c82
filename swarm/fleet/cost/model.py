"""A model's weights, operations and KV bytes, from its shape: what a roofline is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swarm.config.catalog import (
    AttentionEntry,
    CompressedEntry,
    GqaEntry,
    LinearEntry,
    MlaEntry,
    ModelEntry,
    MoeEntry,
    Part,
)
from swarm.config.fleet import Precision

Format = Literal["bf16", "fp8", "fp4", "mxfp4", "int4"]
"""How weights are stored: what kernels read them."""
MXFP4_GROUP = 32
SCALE_BYTES = 1.0
"""Of the scale that a group of 4-bit weights shares (NVFP4: 16 of them, MXFP4: 32)."""
INT4_SCALE_BYTES = 2.0
STATE_BYTES = 4
"""Of a number in a linear layer's state."""
CHUNK_TOKENS = 64
"""That a linear layer's prefill takes together."""
OVERLAP = 2
"""Entries of four tokens are made of eight, half of them the neighbour's."""


def projection_weights(hidden: int, layer: AttentionEntry) -> int:
    """Return the weights of one attention layer."""
    if isinstance(layer, GqaEntry):
        query = hidden * layer.heads * layer.head_dim
        return query * (3 if layer.output_gate else 2) + 2 * hidden * layer.kv_heads * layer.head_dim
    if isinstance(layer, MlaEntry):
        out = hidden * layer.heads * layer.value_dim
        return (
            hidden * layer.q_rank
            + layer.q_rank * layer.heads * (layer.nope_dim + layer.rope_dim)
            + hidden * (layer.kv_rank + layer.rope_dim)
            + layer.kv_rank * layer.heads * (layer.nope_dim + layer.value_dim)
            + out * (2 if layer.output_gate else 1)
            + (layer.q_rank * (layer.index_heads or 0) + hidden) * (layer.index_dim or 0)
        )
    if isinstance(layer, CompressedEntry):
        width = layer.heads * layer.head_dim
        made = 0 if layer.ratio is None else 2 * (OVERLAP if layer.index_heads else 1)
        index = (layer.q_rank + 1) * (layer.index_heads or 0) * (layer.index_dim or 0)
        return (
            hidden * layer.q_rank
            + layer.q_rank * width
            + hidden * layer.head_dim * (1 + made)
            + width * layer.o_rank
            + layer.o_groups * layer.o_rank * hidden
            + index
            + hidden * (layer.index_dim or 0) * made
        )
    keys, values = layer.key_heads * layer.key_dim, layer.value_heads * layer.value_dim
    return hidden * (2 * keys + 3 * values)


def copied_weights(hidden: int, layer: AttentionEntry) -> int:
    """Return an attention layer's weights that every GPU of a group holds: what makes latent vectors."""
    if isinstance(layer, MlaEntry):
        index = (layer.q_rank * (layer.index_heads or 0) + hidden) * (layer.index_dim or 0)
        return hidden * (layer.q_rank + layer.kv_rank + layer.rope_dim) + index
    if isinstance(layer, CompressedEntry):
        made = 0 if layer.ratio is None else 2 * (OVERLAP if layer.index_heads else 1)
        index = (layer.q_rank + 1) * (layer.index_heads or 0) * (layer.index_dim or 0)
        return (
            hidden * (layer.q_rank + layer.head_dim * (1 + made))
            + index
            + hidden * (layer.index_dim or 0) * made
        )
    return 0


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights by part over all layers, of the head, and of the experts that one token uses."""

    attention: int
    copied: int
    """Of attention's, those that every GPU of a group holds."""
    dense: int
    shared: int
    experts: int
    active_experts: int
    head: int
    embedding: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.attention + self.dense + self.shared + self.experts + self.head + self.embedding

    @property
    def active(self) -> int:
        """Those that one token is multiplied with."""
        return self.attention + self.dense + self.shared + self.active_experts + self.head


def weights_of(model: ModelEntry) -> Weights:
    """Count a model's weights; norms and biases are left out."""
    hidden = model.hidden
    dense = shared = experts = active = 0
    for layer in model.feed_forward:
        if isinstance(layer, MoeEntry):
            width = layer.expert_hidden or hidden
            expert = 3 * width * layer.intermediate
            experts += layer.layers * layer.experts * expert
            active += layer.layers * layer.experts_per_token * expert
            shared += layer.layers * (3 * hidden * layer.shared_intermediate + hidden * layer.experts)
            if layer.expert_hidden:
                shared += layer.layers * 2 * hidden * width
        else:
            dense += layer.layers * 3 * hidden * layer.intermediate
    return Weights(
        attention=sum(layer.layers * projection_weights(hidden, layer) for layer in model.attention),
        copied=sum(layer.layers * copied_weights(hidden, layer) for layer in model.attention),
        dense=dense,
        shared=shared,
        experts=experts,
        active_experts=active,
        head=hidden * model.vocab,
        embedding=hidden * model.vocab,
    )


def weight_format(model: ModelEntry, part: Part, precision: Precision) -> Format:
    """Return how a checkpoint of a precision stores a part; what it does not cover stays in 16 bits."""
    if precision == "fp8" and part in model.quantized.fp8:
        # What a precision cannot go below is what the checkpoint has: MXFP4 experts stay MXFP4.
        return "fp8"
    if precision == "int4" and part in model.quantized.int4:
        return "int4"
    if precision == "fp4":
        if part in model.quantized.fp4:
            return "mxfp4" if model.fp4_group == MXFP4_GROUP else "fp4"
        return model.quantized.fp4_rest
    return "bf16"


def weight_bytes(model: ModelEntry, part: Part, precision: Precision) -> float:
    """Return the bytes of one weight of a part, with its share of a scale."""
    stored = weight_format(model, part, precision)
    if stored == "int4":
        return 0.5 + INT4_SCALE_BYTES / model.int4_group
    if stored in ("fp4", "mxfp4"):
        return 0.5 + SCALE_BYTES / model.fp4_group
    return 1.0 if stored == "fp8" else 2.0


def kv_values_per_token(model: ModelEntry) -> float:
    """Return the numbers that a token leaves in the cache for good, over all layers.

    A layer with a window lets go of what is behind it, a linear one keeps a state of fixed size: both
    cost nothing per token.
    """
    return kv_values_per_gpu(model, 1)


def kv_values_per_gpu(model: ModelEntry, tp: int) -> float:
    """Return the numbers of a token that each GPU of a tensor-parallel group holds.

    A KV head cannot be cut: with more GPUs than KV heads they are copied. A latent vector is copied to all.
    """
    total = 0.0
    for layer in model.attention:
        if isinstance(layer, GqaEntry) and layer.window is None:
            total += layer.layers * 2 * max(layer.kv_heads / tp, 1.0) * layer.head_dim
        elif isinstance(layer, MlaEntry):
            total += layer.layers * (layer.kv_rank + layer.rope_dim + (layer.index_dim or 0))
        elif isinstance(layer, CompressedEntry) and layer.ratio is not None:
            total += layer.layers * (layer.head_dim + (layer.index_dim or 0)) / layer.ratio
    return total


def state_bytes_per_sequence(model: ModelEntry) -> int:
    """Return the bytes of a sequence's state in linear layers, and in windows that are full."""
    total = 0
    for layer in model.attention:
        if isinstance(layer, LinearEntry):
            total += layer.layers * layer.value_heads * layer.value_dim * layer.key_dim * STATE_BYTES
        elif isinstance(layer, GqaEntry) and layer.window is not None:
            total += layer.layers * layer.window * 2 * layer.kv_heads * layer.head_dim * 2
    return total


def linear_operations(model: ModelEntry) -> float:
    """Return the operations of a prompt's token in linear layers, in chunks that are attended to whole."""
    total = 0.0
    for layer in model.attention:
        if isinstance(layer, LinearEntry):
            state = layer.key_dim * layer.value_dim
            inside = CHUNK_TOKENS * (layer.key_dim + layer.value_dim)
            total += layer.layers * layer.value_heads * 4 * (state + inside)
    return total


def pair_operations(layer: AttentionEntry) -> int:
    """Return the operations of one query token and one token that it looks at, in one layer's prefill."""
    if isinstance(layer, GqaEntry):
        return 4 * layer.heads * layer.head_dim
    if isinstance(layer, MlaEntry):
        return 2 * layer.heads * (layer.nope_dim + layer.rope_dim + layer.value_dim)
    if isinstance(layer, CompressedEntry):
        return 4 * layer.heads * layer.head_dim
    return 0
