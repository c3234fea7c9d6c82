"""Entries of the catalogues of models and GPUs: one YAML file each, the packaged ones or a user's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from swarm.config.strict import Strict

Part = Literal["attention", "dense", "experts", "shared"]
Count = Annotated[int, Field(ge=1)]
PARTS: tuple[Part, ...] = ("attention", "dense", "experts", "shared")


class GqaEntry(Strict):
    """Layers that cache keys and values of each KV head."""

    kind: Literal["gqa"]
    layers: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    window: Count | None = Field(None, description="tokens that a layer looks back at; null: all")
    output_gate: bool = False


class MlaEntry(Strict):
    """Layers that cache one latent vector per token, whatever the number of heads."""

    kind: Literal["mla"]
    layers: Count
    heads: Count
    q_rank: Count
    kv_rank: Count
    nope_dim: Count
    rope_dim: Count
    value_dim: Count
    output_gate: bool = False
    index_heads: Count | None = Field(None, description="of a sparse attention's indexer; null: dense")
    index_dim: Count | None = None
    top_tokens: Count | None = Field(None, description="context tokens that a sparse attention reads")


class LinearEntry(Strict):
    """Layers with a state of fixed size per sequence (gated delta nets, Kimi delta attention)."""

    kind: Literal["linear"]
    layers: Count
    key_heads: Count
    key_dim: Count
    value_heads: Count
    value_dim: Count


class DenseEntry(Strict):
    """Feed-forward layers that every token goes through."""

    kind: Literal["dense"]
    layers: Count
    intermediate: Count


class MoeEntry(Strict):
    """Feed-forward layers of experts, a few of them for each token."""

    kind: Literal["moe"]
    layers: Count
    experts: Count
    experts_per_token: Count
    intermediate: Count
    shared_intermediate: int = Field(0, ge=0, description="of all shared experts together")
    expert_hidden: Count | None = Field(None, description="width that experts work in; null: the model's")


AttentionEntry = Annotated[GqaEntry | MlaEntry | LinearEntry, Field(discriminator="kind")]
FeedForwardEntry = Annotated[DenseEntry | MoeEntry, Field(discriminator="kind")]


class QuantizedParts(Strict):
    """Which weights a precision stores in it; the others stay in 16 bits."""

    fp8: tuple[Part, ...] = PARTS
    fp4: tuple[Part, ...] = PARTS


class Named(Strict):
    """An entry that is found by any of its names."""

    name: str
    also: tuple[str, ...] = ()


class ModelEntry(Named):
    """A model's shape."""

    source: str = Field(min_length=8, description="where every number of the file is from")
    measured: bool = Field(False, description="rows of it were there to fit and check the constants")
    family: str
    hidden: Count
    vocab: Count
    context_tokens: Count
    attention: tuple[AttentionEntry, ...] = Field(min_length=1)
    feed_forward: tuple[FeedForwardEntry, ...] = Field(min_length=1)
    quantized: QuantizedParts = QuantizedParts()
    fp4_group: Count = Field(16, description="weights that share an 8-bit scale")


class Quantity(Strict):
    """A number and where it is from."""

    value: float = Field(gt=0)
    source: str = Field(min_length=8)


class GpuEntry(Named):
    """A GPU: dense peaks, without sparsity; bandwidths of one direction."""

    generation: str
    measured: bool = False
    memory_bytes: Quantity
    memory_bytes_per_s: Quantity
    bf16_flops: Quantity
    fp8_flops: Quantity | None = None
    fp4_flops: Quantity | None = None
    link_bytes_per_s: Quantity
    link_gpus: Quantity
    network_bytes_per_s: Quantity


class RooflineConstants(Strict):
    """What the data sheets do not say, fitted on measurements (scripts/fit_roofline)."""

    memory_efficiency: float = Field(gt=0, le=1.2, description="of the peak bandwidth, reading weights")
    kv_efficiency: float = Field(gt=0, le=1.2, description="of the peak bandwidth, reading KV")
    compute_efficiency: float = Field(gt=0, le=1.2, description="of the peak of bf16 matrices")
    quantized_compute_efficiency: float = Field(gt=0, le=1.2, description="of the peak of fp8 and fp4")
    expert_compute_efficiency: float = Field(gt=0, le=1.2, description="of the peak, in experts")
    expert_spread: float = Field(
        gt=0, le=1, description="share of a further token's choices that are independent of the others'"
    )
    attention_efficiency: float = Field(gt=0, le=1.2, description="of the bf16 peak, in attention")
    exchange_bytes_per_s: float = Field(
        gt=0, description="of one GPU in an exchange, where its links carry more"
    )
    layer_s: float = Field(ge=0, description="per layer and step: kernels that no size makes shorter")
    expert_layer_s: float = Field(ge=0, description="more of it where a layer has experts")
    reduce_s: float = Field(ge=0, description="latency of one exchange between GPUs, per doubling of them")
    step_s: dict[str, float] = Field(description="per step, by backend: scheduler, sampler")
    sequence_s: float = Field(ge=0, description="per decoding sequence and step")
    prompt_s: float = Field(ge=0, description="per chunk of a prompt")
    entry_s: dict[str, float] = Field(description="from a request's arrival to its queue, by backend")
    entry_token_s: float = Field(ge=0, description="and so much for each token of the prompt, cached or not")
    entry_steps: dict[str, float] = Field(description="and so many steps more, by backend")
    activation_bytes: float = Field(ge=0, description="of a GPU's memory, for graphs and buffers")
    measured_tokens_max: int = Field(ge=1, description="longest input that was measured")
