"""The seconds that a rank's steps are made of, from a model's shape and kernels' times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from swarm.config.catalog import (
    PARTS,
    CompressedEntry,
    GqaEntry,
    Kernels,
    LinearEntry,
    MlaEntry,
    ModelEntry,
    MoeEntry,
    Part,
    RooflineConstants,
)
from swarm.config.fleet import KvPrecision
from swarm.fleet.cost.kernels import KV_BYTES, KernelTimes
from swarm.fleet.cost.model import (
    linear_operations,
    pair_operations,
    state_bytes_per_sequence,
    weight_bytes,
    weight_format,
    weights_of,
)
from swarm.fleet.cost.served import Served

ACTIVATION_BYTES = 2
"""Of a number that GPUs exchange; experts' inputs travel in 8 bits (DeepEP's dispatch)."""
DISPATCH_BYTES = 1
EVERYWHERE = math.inf
"""The window of a layer that looks back at everything."""
SPARSE_HEADS = 64
"""That a kernel of sparse attention takes at once; fewer are padded."""
PREFILL_DIMS = (64, 128, 256)
"""Sizes of heads that attention was measured with."""
ATTENTION_GEMMS = 2
FEED_FORWARD_GEMMS = 2
ATTENTION_LAUNCHES = 10
"""Kernels that an eager step launches a layer: norm, projections, rotation, cache, attention."""
DENSE_LAUNCHES = 4
EXPERT_LAUNCHES = 10
"""Norm, router, choice, sort, quantizing, two multiplications, activation, sum."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Layers that look back equally far: seconds per token decoded against, and per pair prefilled."""

    window: float
    held_s: float
    pair_s: float
    near_s: float
    """Per pair of a prompt that ends within the window: sparse layers look at all of it, densely."""


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
    experts_pad_s: float
    """Of what all of them compute in vain: a kernel's tiles hold more tokens than choose an expert."""
    expert_share: float
    """Of all experts that one token chooses."""
    expert_spread: float
    expert_uneven: float
    """How far the share of chosen experts on the GPU with most of them lies above the mean of all, in
    standard deviations of one expert's choice: a step waits for that GPU."""
    exchange_token_s: float
    """Of what is exchanged besides all-reduces."""
    one_shot_token_s: float
    two_shot_token_s: float
    two_shot_s: float
    """All-reduces of all layers: of a token in one go, of one in two goes, and what two goes take more."""
    prompt_token_s: float
    """Of a prompt's token in layers that keep a state."""
    sequence_s: float
    chunk_s: float
    attention: tuple[Attention, ...]
    ranks: int
    """That share the experts: as many times the tokens choose among them."""
    stages: int
    checked: int
    """Tokens of a sequence that one step computes: its own and those drafted."""
    accepted: float
    """Tokens that a step gives on average."""
    draft_share: float
    """Of a step of one token that all drafting for it takes."""


def terms_of(served: Served, kernels: Kernels, constants: RooflineConstants) -> Terms:
    """Return the terms of one rank's steps."""
    model, spread = served.model, served.parallelism
    times = KernelTimes(served, kernels, constants)
    gpus = spread.tp * spread.dp
    weights = weights_of(model)
    moe = [layer for layer in model.feed_forward if isinstance(layer, MoeEntry)]
    layers = sum(layer.layers for layer in model.attention)
    exchanges = _exchange(served, times, layers)
    dense_read_s, dense_token_s = _dense(served, times, constants)
    stored = weight_format(model, "experts", served.precision)
    experts = times.experts(stored)
    experts_bytes = weights.experts * weight_bytes(model, "experts", served.precision)
    width = moe[0].intermediate * spread.ep / gpus if moe else 1.0
    read_s = times.read_s(experts, constants.expert_pace) * (1.0 + experts.half_read / width)
    pair_s = times.weight_s(experts, stored, constants.expert_pace) * (1.0 + experts.half_multiply / width)
    head_s = 2.0 * weights.head / spread.tp * times.read_s(times.gemm("bf16"), constants.gemm_pace)
    replayed_s = (
        _floors_s(served, times)
        + layers * constants.layer_s[served.backend]
        + exchanges.count * times.reduce_s()
    )
    if served.eager:
        replayed_s = max(replayed_s, (_launches(model) + exchanges.count) * times.exchange().launch_s)
    draft = served.speculative
    return Terms(
        step_s=constants.step_s[served.backend] + replayed_s + head_s,
        weights_read_s=dense_read_s,
        weights_token_s=dense_token_s,
        experts_read_s=experts_bytes / gpus * read_s,
        experts_token_s=spread.dp * weights.active_experts * pair_s / gpus,
        experts_pad_s=weights.experts / gpus * experts.pad_tokens * pair_s,
        expert_spread=constants.expert_spread,
        expert_share=moe[0].experts_per_token / moe[0].experts if moe else 0.0,
        expert_uneven=_uneven(moe[0].experts, spread.ep) if moe else 0.0,
        exchange_token_s=exchanges.token_s,
        one_shot_token_s=exchanges.one_shot_token_s,
        two_shot_token_s=exchanges.two_shot_token_s,
        two_shot_s=exchanges.two_shot_s,
        prompt_token_s=_linear_token_s(served, times),
        sequence_s=constants.sequence_s
        + 2.0 * state_bytes_per_sequence(model) / spread.tp * times.held_s("kv", "bf16") / KV_BYTES["bf16"],
        chunk_s=constants.prompt_s,
        attention=tuple(_attention(served, times)),
        ranks=spread.dp,
        stages=spread.pp,
        checked=1 + (draft.draft_tokens if draft else 0),
        accepted=draft.acceptance_length if draft else 1.0,
        draft_share=draft.draft_tokens * draft.draft_layers / layers if draft else 0.0,
    )


def _uneven(experts: int, holders: int) -> float:
    """Return the greatest of `holders` shares of chosen experts, above the mean, in one choice's deviations.

    Each holds `experts` / `holders`. The mean greatest of normal numbers is Blom's (1958).
    """
    if holders == 1:
        return 0.0
    greatest = NormalDist().inv_cdf((holders - 0.375) / (holders + 0.25))
    return greatest * math.sqrt(holders / experts)


def _dense(served: Served, times: KernelTimes, constants: RooflineConstants) -> tuple[float, float]:
    """Return the seconds of reading what every token uses, and of one token's operations with it."""
    model, spread = served.model, served.parallelism
    weights = weights_of(model)
    gpus = spread.tp * spread.dp
    read_s = token_s = 0.0
    counts: dict[Part, int] = {
        "attention": weights.attention,
        "dense": weights.dense,
        "shared": weights.shared,
    }
    for part, count in counts.items():
        stored = weight_format(model, part, served.precision)
        kernel = times.gemm(stored)
        # Attention is split over its rank's GPUs, feed-forward layers over those of all ranks.
        if part == "attention":
            held, shared = weights.copied + (count - weights.copied) / spread.tp, 1
        else:
            held, shared = count / gpus, spread.dp
        bytes_count = held * weight_bytes(model, part, served.precision)
        read_s += bytes_count * times.read_s(kernel, constants.gemm_pace)
        token_s += shared * held * times.weight_s(kernel, stored, constants.gemm_pace)
    return read_s, token_s


def _floors_s(served: Served, times: KernelTimes) -> float:
    """Return what kernels of a step take that no size makes shorter, over all layers."""
    model = served.model
    gemm_s: dict[Part, float] = {
        part: times.gemm_floor_s(weight_format(model, part, served.precision)) for part in PARTS
    }
    seconds = 0.0
    for layer in model.attention:
        if isinstance(layer, GqaEntry | LinearEntry):
            module_s = times.attention_floor_s(module_kind(layer)) + ATTENTION_GEMMS * gemm_s["attention"]
        else:
            # Measured with their projections.
            stored = weight_format(model, "attention", served.precision)
            module_s = times.module_floor_s(module_kind(layer), stored)
        seconds += layer.layers * module_s
    for feed in model.feed_forward:
        if isinstance(feed, MoeEntry):
            stored = weight_format(model, "experts", served.precision)
            seconds += feed.layers * times.experts_floor_s(stored, feed.experts / served.parallelism.ep)
        else:
            seconds += feed.layers * FEED_FORWARD_GEMMS * gemm_s["dense"]
    return seconds


def module_kind(layer: GqaEntry | MlaEntry | CompressedEntry | LinearEntry) -> str:
    """Return the name of a layer's floor in the tables."""
    if isinstance(layer, GqaEntry):
        return "gqa_s"
    if isinstance(layer, MlaEntry):
        return "mla_s" if not layer.top_tokens else "sparse_s" if layer.index_heads else "shared_index_s"
    if isinstance(layer, CompressedEntry):
        return "compressed_4_s" if layer.index_heads else "compressed_128_s"
    return "linear_s"


def _launches(model: ModelEntry) -> int:
    """Return the kernels that an eager step launches, exchanges left out."""
    count = sum(layer.layers for layer in model.attention) * ATTENTION_LAUNCHES
    for feed in model.feed_forward:
        count += feed.layers * (EXPERT_LAUNCHES if isinstance(feed, MoeEntry) else DENSE_LAUNCHES)
    return count


@dataclass(frozen=True, slots=True)
class Exchanges:
    """What GPUs of a step exchange: how often, and the seconds of a token in all-reduces and elsewhere."""

    count: int
    one_shot_token_s: float
    two_shot_token_s: float
    two_shot_s: float
    token_s: float


def _exchange(served: Served, times: KernelTimes, layers: int) -> Exchanges:
    """Return what GPUs exchange: two all-reduces a layer, or a dispatch of tokens to experts and back."""
    model, spread = served.model, served.parallelism
    gpus = spread.tp * spread.dp
    once = twice = token_s = 0.0
    reduces = others = 0
    token_bytes = float(ACTIVATION_BYTES * model.hidden)

    def reduce(group: int, ranks: int) -> None:
        nonlocal once, twice, reduces
        carried = layers * (group - 1) * ranks * token_bytes
        once += carried / times.one_shot_bytes_per_s(group)
        twice += carried * 2.0 / group / times.exchange_bytes_per_s(group)
        reduces += layers

    if spread.tp > 1:
        reduce(spread.tp, 1)
    if spread.dp > 1 and spread.ep > 1:
        others += layers
        rate = times.exchange_bytes_per_s(gpus)
        for layer in model.feed_forward:
            if isinstance(layer, MoeEntry):
                copies = layer.experts_per_token * (1 - 1 / spread.ep) / spread.tp
                width = layer.expert_hidden or model.hidden
                sent = copies * width * (DISPATCH_BYTES + ACTIVATION_BYTES)
                token_s += layer.layers * sent / rate
    elif gpus > 1:
        reduce(gpus, spread.dp)
    if spread.pp > 1:
        token_s += (spread.pp - 1) * token_bytes / times.exchange_bytes_per_s(2)
        others += spread.pp - 1
    return Exchanges(reduces + others, once, twice, reduces * times.two_shot_s(), token_s)


def _linear_token_s(served: Served, times: KernelTimes) -> float:
    """Return the seconds of a prompt's token in layers that keep a state."""
    operations = linear_operations(served.model) / served.parallelism.tp
    return operations / times.pair_operations_per_s("prefill_linear") if operations else 0.0


def _attention(served: Served, times: KernelTimes) -> list[Attention]:
    by_window: dict[float, tuple[float, float, float]] = {}
    for layer in served.model.attention:
        for window, held_s, pair_s, near_s in _looks(
            layer, served.parallelism.tp, times, served.kv_precision
        ):
            held, pair, near = by_window.get(window, (0.0, 0.0, 0.0))
            by_window[window] = (
                held + layer.layers * held_s,
                pair + layer.layers * pair_s,
                near + layer.layers * near_s,
            )
    return [Attention(window, *by_window[window]) for window in sorted(by_window)]


def _looks(
    layer: GqaEntry | MlaEntry | CompressedEntry | LinearEntry,
    tp: int,
    times: KernelTimes,
    kv: KvPrecision,
) -> list[tuple[float, float, float, float]]:
    """Return what a layer looks at: window, seconds per token decoded against, per pair, per near pair."""
    latent_s = 1.0 / times.pair_operations_per_s("prefill_mla")
    if isinstance(layer, GqaEntry):
        heads = max(layer.kv_heads / tp, 1.0)
        closest = min(PREFILL_DIMS, key=lambda dim: abs(dim - layer.head_dim))
        pair_s = pair_operations(layer) / tp / times.pair_operations_per_s(f"prefill_{closest}")
        held_s = 2 * heads * layer.head_dim * times.held_s("kv", kv)
        return [(layer.window or EVERYWHERE, held_s, pair_s, pair_s)]
    if isinstance(layer, MlaEntry):
        latent = layer.kv_rank + layer.rope_dim
        # Decoding multiplies with the latent vector itself: many operations for each byte.
        operations = 2 * layer.heads / tp * (latent + layer.kv_rank)
        held_s = max(latent * times.held_s("latent", kv), operations * latent_s)
        near_s = pair_operations(layer) / tp / times.pair_operations_per_s("prefill_mla")
        if layer.top_tokens is None:
            return [(EVERYWHERE, held_s, near_s, near_s)]
        padded = 2 * max(layer.heads / tp, SPARSE_HEADS) * (latent + layer.kv_rank)
        pair_s = padded / times.pair_operations_per_s("prefill_sparse")
        return [(layer.top_tokens, held_s, pair_s, near_s), *_index(layer, 1, times, kv)]
    if isinstance(layer, CompressedEntry):
        operations = 4 * layer.heads / tp * layer.head_dim
        held_s = max(layer.head_dim * times.held_s("latent", kv), operations * latent_s)
        padded = 4 * max(layer.heads / tp, SPARSE_HEADS) * layer.head_dim
        pair_s = padded / times.pair_operations_per_s("prefill_sparse")
        looks = [(float(layer.window), held_s, pair_s, pair_s)]
        if layer.ratio is not None:
            window = layer.top_entries * layer.ratio if layer.top_entries else EVERYWHERE
            looks.append((window, held_s / layer.ratio, pair_s / layer.ratio, pair_s / layer.ratio))
            looks += _index(layer, layer.ratio, times, kv)
        return looks
    return []


def _index(
    layer: MlaEntry | CompressedEntry, ratio: int, times: KernelTimes, kv: KvPrecision
) -> list[tuple[float, float, float, float]]:
    """Return what the indexer of a sparse attention looks at: a key of every entry."""
    if not layer.index_heads or not layer.index_dim:
        return []
    # Its heads are not cut over GPUs: each looks for itself.
    pair_s = 2 * layer.index_heads * layer.index_dim / times.index_operations_per_s()
    held_s = layer.index_dim * times.held_s("latent", kv)
    return [(EVERYWHERE, held_s / ratio, pair_s / ratio, pair_s / ratio)]
