"""A roofline with per-layer overheads: seconds of a step from a model's shape and a GPU's data sheet.

A step reads weights and multiplies with them, whichever takes longer, for the parts that every token uses
and for the experts that its tokens happen to choose; it reads the KV of those who decode and multiplies
pairs of tokens for those who prefill; GPUs of a group exchange activations twice a layer; and each layer,
step, sequence and chunk takes a time of its own that no size makes shorter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from swarm.config.catalog import (
    PARTS,
    GpuEntry,
    GqaEntry,
    MlaEntry,
    ModelEntry,
    MoeEntry,
    RooflineConstants,
)
from swarm.config.fleet import BackendName, KvPrecision, ParallelismConfig, Precision
from swarm.fleet.cost.base import Chunk, DecodeLine
from swarm.fleet.cost.hardware import exchange_bytes_per_s, peak_flops
from swarm.fleet.cost.model import (
    kv_values_per_gpu,
    pair_operations,
    state_bytes_per_sequence,
    weight_bytes,
    weights_of,
)

ACTIVATION_BYTES = 2
"""Of a number that GPUs exchange; experts' inputs travel in 8 bits (DeepEP's dispatch)."""
DISPATCH_BYTES = 1
KV_BYTES = {"bf16": 2, "fp8": 1}
EVERYWHERE = math.inf
"""The window of a layer that looks back at everything."""


@dataclass(frozen=True, slots=True)
class Served:
    """What runs on what, and how."""

    model: ModelEntry
    gpu: GpuEntry
    parallelism: ParallelismConfig
    precision: Precision
    kv_precision: KvPrecision
    backend: BackendName


@dataclass(frozen=True, slots=True)
class Attention:
    """Layers that look back equally far: seconds per token decoded against, and per pair prefilled."""

    window: float
    held_s: float
    pair_s: float


@dataclass(frozen=True, slots=True)
class Terms:
    """The seconds that a step is made of. Tokens are those of one rank."""

    step_s: float
    """Of every step, whatever is in it: scheduler, kernels, exchanges' latency, reading the head."""
    weights_read_s: float
    weights_token_s: float
    experts_read_s: float
    """Reading all of them."""
    experts_token_s: float
    expert_share: float
    """Of all experts that one token chooses."""
    expert_spread: float
    exchange_token_s: float
    sequence_s: float
    chunk_s: float
    attention: tuple[Attention, ...]
    ranks: int
    """That share the experts: as many times the tokens choose among them."""
    stages: int


def terms_of(served: Served, constants: RooflineConstants) -> Terms:
    """Return the terms of one rank's steps."""
    model, gpu, spread = served.model, served.gpu, served.parallelism
    gpus = spread.tp * spread.dp
    weights = weights_of(model)
    bandwidth = gpu.memory_bytes_per_s.value
    read_s = 1.0 / (bandwidth * constants.memory_efficiency)
    counts = dict(
        zip(PARTS, (weights.attention, weights.dense, weights.experts, weights.shared), strict=True)
    )
    bytes_of = {part: count * weight_bytes(model, part, served.precision) for part, count in counts.items()}

    def multiply_s(precision: Precision) -> float:
        efficiency = (
            constants.compute_efficiency if precision == "bf16" else constants.quantized_compute_efficiency
        )
        return 2.0 / (peak_flops(gpu, precision) * efficiency)

    def precision_of(part: str) -> Precision:
        stored = weight_bytes(model, part, served.precision)  # type: ignore[arg-type]
        return "bf16" if stored == 2.0 else "fp8" if stored == 1.0 else "fp4"

    # Attention is split over its rank's GPUs, feed-forward layers over those of all ranks.
    dense_bytes = bytes_of["attention"] / spread.tp + (bytes_of["dense"] + bytes_of["shared"]) / gpus
    dense_token_s = (
        counts["attention"] * multiply_s(precision_of("attention")) / spread.tp
        + spread.dp
        * (
            counts["dense"] * multiply_s(precision_of("dense"))
            + counts["shared"] * multiply_s(precision_of("shared"))
        )
        / gpus
    )
    moe = [layer for layer in model.feed_forward if isinstance(layer, MoeEntry)]
    layers = sum(layer.layers for layer in model.attention)
    exchange_s, latencies = _exchange(served, constants, layers)
    head_s = 2.0 * weights.head / spread.tp * read_s
    return Terms(
        step_s=constants.step_s[served.backend]
        + layers * constants.layer_s
        + sum(layer.layers for layer in moe) * constants.expert_layer_s
        + latencies
        + head_s,
        weights_read_s=dense_bytes * read_s,
        weights_token_s=dense_token_s,
        experts_read_s=bytes_of["experts"] / gpus * read_s,
        experts_token_s=spread.dp
        * weights.active_experts
        * 2.0
        / (peak_flops(gpu, precision_of("experts")) * constants.expert_compute_efficiency * gpus),
        expert_spread=constants.expert_spread,
        expert_share=moe[0].experts_per_token / moe[0].experts if moe else 0.0,
        exchange_token_s=exchange_s,
        sequence_s=constants.sequence_s
        + 2.0 * state_bytes_per_sequence(model) / spread.tp / (bandwidth * constants.kv_efficiency),
        chunk_s=constants.prompt_s,
        attention=tuple(_attention(served, constants)),
        ranks=spread.dp,
        stages=spread.pp,
    )


def _exchange(served: Served, constants: RooflineConstants, layers: int) -> tuple[float, float]:
    """Return the seconds that GPUs exchange per token, and per step whatever its tokens."""
    model, spread = served.model, served.parallelism
    gpus = spread.tp * spread.dp
    per_token = latency = 0.0
    token_bytes = ACTIVATION_BYTES * model.hidden
    if spread.tp > 1:
        rate = exchange_bytes_per_s(served.gpu, spread.tp, constants.exchange_bytes_per_s)
        per_token += layers * 2.0 * (spread.tp - 1) / spread.tp * token_bytes / rate
        latency += layers * constants.reduce_s * math.log2(spread.tp)
    if gpus > 1:
        rate = exchange_bytes_per_s(served.gpu, gpus, constants.exchange_bytes_per_s)
        latency += layers * constants.reduce_s * math.log2(gpus)
        if spread.dp > 1 and spread.ep > 1:
            for layer in model.feed_forward:
                if isinstance(layer, MoeEntry):
                    copies = layer.experts_per_token * (1 - 1 / spread.ep) / spread.tp
                    width = layer.expert_hidden or model.hidden
                    sent = copies * width * (DISPATCH_BYTES + ACTIVATION_BYTES)
                    per_token += layer.layers * sent / rate
        else:
            per_token += layers * 2.0 * (gpus - 1) / gpus * spread.dp * token_bytes / rate
    if spread.pp > 1:
        rate = exchange_bytes_per_s(served.gpu, 2, constants.exchange_bytes_per_s)
        per_token += (spread.pp - 1) * token_bytes / rate
        latency += (spread.pp - 1) * constants.reduce_s
    return per_token, latency


def _attention(served: Served, constants: RooflineConstants) -> list[Attention]:
    tp, kv_bytes = served.parallelism.tp, KV_BYTES[served.kv_precision]
    read_s = kv_bytes / (served.gpu.memory_bytes_per_s.value * constants.kv_efficiency)
    flop_s = 1.0 / (served.gpu.bf16_flops.value * constants.attention_efficiency)
    by_window: dict[float, tuple[float, float]] = {}

    def add(window: float, held_s: float, pair_s: float) -> None:
        held, pair = by_window.get(window, (0.0, 0.0))
        by_window[window] = held + held_s, pair + pair_s

    for layer in served.model.attention:
        if isinstance(layer, GqaEntry):
            heads = max(layer.kv_heads / tp, 1.0)
            held_s = layer.layers * 2 * heads * layer.head_dim * read_s
            pair_s = layer.layers * pair_operations(layer) / tp * flop_s
            add(layer.window or EVERYWHERE, held_s, pair_s)
        elif isinstance(layer, MlaEntry):
            latent = layer.kv_rank + layer.rope_dim
            # Decoding multiplies with the latent vector itself: many operations for each byte.
            operations = 2 * layer.heads / tp * (latent + layer.kv_rank)
            held_s = layer.layers * max(latent * read_s, operations * flop_s)
            pair_s = layer.layers * pair_operations(layer) / tp * flop_s
            add(layer.top_tokens or EVERYWHERE, held_s, pair_s)
            if layer.index_heads and layer.index_dim:
                index_s = layer.layers * 2 * layer.index_heads * layer.index_dim / tp * flop_s
                add(EVERYWHERE, layer.layers * layer.index_dim * read_s, index_s)
    return [Attention(window, *by_window[window]) for window in sorted(by_window)]


class Roofline:
    """Seconds of one rank's steps, from its terms."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._stages = terms.stages
        self._lines: dict[int, tuple[float, float]] = {}
        self._windows = [one for one in terms.attention if one.window < EVERYWHERE]
        self._slope_s = sum(one.held_s for one in terms.attention if one.window == EVERYWHERE)
        self._token_s = terms.weights_token_s + terms.experts_token_s + terms.exchange_token_s

    def step_s(self, chunks: Sequence[Chunk], decode_batch: int, decode_context_tokens: int) -> float:
        """Return the seconds of a step."""
        if not chunks:
            line = self.decode_line(decode_batch, decode_context_tokens)
            return line.at_s(decode_context_tokens)
        terms = self._terms
        tokens = decode_batch
        seconds = terms.chunk_s * len(chunks)
        for chunk in chunks:
            tokens += chunk.tokens
            seconds += self._pairs_s(chunk.start, chunk.tokens)
        if decode_batch:
            seconds += decode_batch * terms.sequence_s + self._held_s(decode_batch, decode_context_tokens)
        stages = self._stages
        if stages == 1:
            return seconds + terms.step_s + self._tokens_s(tokens)
        # As many parts as stages follow each other through them; the first fills, the last drains them.
        return (2.0 - 1.0 / stages) * (seconds / stages + terms.step_s + self._tokens_s(tokens / stages))

    def decode_line(self, decode_batch: int, decode_context_tokens: int) -> DecodeLine:
        """Return the line that decode steps lie on until a window of the mean sequence is full."""
        known = self._lines.get(decode_batch)
        stages = self._stages
        if known is None:
            terms = self._terms
            part = max(1.0, decode_batch / stages)
            base_s = terms.step_s + self._tokens_s(part) + part * terms.sequence_s
            known = self._lines[decode_batch] = (base_s, self._slope_s * part / decode_batch)
        if not self._windows:
            return DecodeLine(known[0], known[1], EVERYWHERE)
        base_s, slope_s = known
        until_tokens = EVERYWHERE
        share = slope_s / self._slope_s if self._slope_s else 1.0
        for one in self._windows:
            full = one.window * decode_batch
            if decode_context_tokens >= full:
                base_s += one.held_s * full * share
            else:
                slope_s += one.held_s * share
                until_tokens = min(until_tokens, full)
        return DecodeLine(base_s, slope_s, until_tokens)

    def prefill_s(self, start: int, tokens: int) -> float:
        """Return the seconds that `tokens` more add to steps that are long anyway."""
        return tokens * self._token_s + self._pairs_s(start, tokens)

    def _tokens_s(self, tokens: float) -> float:
        """Return the seconds that tokens take in all that is not attention's memory."""
        terms = self._terms
        seconds = terms.exchange_token_s * tokens
        read_s, token_s = terms.weights_read_s, terms.weights_token_s * tokens
        seconds += read_s if read_s > token_s else token_s
        if terms.expert_share:
            # The first token chooses freely; those after it choose partly what others have chosen.
            choosers = 1.0 + (tokens * terms.ranks - 1.0) * terms.expert_spread
            untouched = (1.0 - terms.expert_share) ** choosers
            read_s, token_s = terms.experts_read_s * (1.0 - untouched), terms.experts_token_s * tokens
            seconds += read_s if read_s > token_s else token_s
        return seconds

    def _pairs_s(self, start: int, tokens: int) -> float:
        """Return the seconds of a chunk's attention: its pairs, or reading what it looks at."""
        seconds = 0.0
        seen = start + 0.5 * tokens
        for one in self._terms.attention:
            back = seen if seen < one.window else one.window
            pairs_s = one.pair_s * tokens * back
            held_s = one.held_s * back
            seconds += pairs_s if pairs_s > held_s else held_s
        return seconds

    def _held_s(self, decode_batch: int, decode_context_tokens: int) -> float:
        seconds = self._slope_s * decode_context_tokens
        for one in self._windows:
            seconds += one.held_s * min(decode_context_tokens, one.window * decode_batch)
        return seconds


def kv_capacity_tokens(
    served: Served, constants: RooflineConstants, *, memory_fraction: float, max_batched_tokens: int
) -> int:
    """Return the tokens whose KV fits beside weights and activations on one rank; none if negative."""
    model, spread = served.model, served.parallelism
    gpus = spread.tp * spread.dp * spread.pp
    weights = weights_of(model)
    per_gpu = weights.attention * weight_bytes(model, "attention", served.precision) / spread.tp / spread.pp
    for part, count in (
        ("dense", weights.dense),
        ("experts", weights.experts),
        ("shared", weights.shared),
    ):
        per_gpu += count * weight_bytes(model, part, served.precision) / gpus  # type: ignore[arg-type]
    per_gpu += 2.0 * (weights.head + weights.embedding) / spread.tp
    activations = constants.activation_bytes + 2.0 * ACTIVATION_BYTES * model.hidden * max_batched_tokens
    left = served.gpu.memory_bytes.value * memory_fraction - per_gpu - activations
    token_bytes = kv_values_per_gpu(model, spread.tp) * KV_BYTES[served.kv_precision] / spread.pp
    return int(left / token_bytes)
