"""Entries of the catalogues of models and GPUs: one YAML file each, the packaged ones or a user's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from swarm.config.strict import Strict
from swarm.config.transfers import TransferConfig

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


class CompressedEntry(Strict):
    """Layers that cache one vector, keys and values at once, for every so many tokens (DeepSeek-V4)."""

    kind: Literal["compressed"]
    layers: Count
    heads: Count
    head_dim: Count
    q_rank: Count
    o_groups: Count = Field(description="parts that the output projection is cut in")
    o_rank: Count = Field(description="width of each part's output")
    ratio: Count | None = Field(None, description="tokens of one entry; null: the window alone is read")
    window: Count = Field(description="last tokens, each read whole")
    index_heads: Count | None = Field(
        None, description="of the indexer that chooses entries; null: all are read"
    )
    index_dim: Count | None = None
    top_entries: Count | None = Field(None, description="entries that are read")


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


AttentionEntry = Annotated[GqaEntry | MlaEntry | CompressedEntry | LinearEntry, Field(discriminator="kind")]
FeedForwardEntry = Annotated[DenseEntry | MoeEntry, Field(discriminator="kind")]


class QuantizedParts(Strict):
    """Which weights a precision stores in it; the others stay in 16 bits."""

    fp8: tuple[Part, ...] = PARTS
    fp4: tuple[Part, ...] = PARTS
    int4: tuple[Part, ...] = PARTS
    fp4_rest: Literal["bf16", "fp8"] = Field("bf16", description="what fp4 leaves the other parts in")


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
    fp4_group: Count = Field(16, description="weights that share an 8-bit scale; 32: MXFP4, its kernels")
    int4_group: Count = Field(128, description="weights that share a 16-bit scale")


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
    uncut_bf16_flops: Quantity | None = Field(
        None, description="of a chip whose matrices are cut and whose multiprocessors are not (H20)"
    )
    link_bytes_per_s: Quantity
    link_gpus: Quantity
    network_bytes_per_s: Quantity
    host_bytes_per_s: Quantity | None = Field(
        None, description="of PCIe, as on paper; null where the GPU shares its host's memory otherwise"
    )


class ConnectorEntry(Named):
    """What moves KV between HBM and a tier, by default."""

    about: str
    transfers: TransferConfig
    sources: dict[str, str] = Field(description="where each stated value is from, by its key")

    @model_validator(mode="after")
    def _sourced(self) -> ConnectorEntry:
        stated = self.transfers.model_dump(exclude_none=True).keys()
        if stated != self.sources.keys():
            raise ValueError(f"sources are of {sorted(self.sources)}, values of {sorted(stated)}")
        return self


Floors = dict[str, float]
"""Seconds or shares by engine; `any` where an engine has none."""


class Kernel(Strict):
    """A kernel takes floor_s + max(bytes / (bandwidth x memory), operations / (peak x compute))."""

    floor_s: float = Field(ge=0)
    memory: float = Field(gt=0, le=1)
    compute: float = Field(gt=0, le=1)
    pad_tokens: float = Field(0.0, ge=0, description="of each chosen expert, computed in vain")
    expert_s: float = Field(0.0, ge=0, description="more for each expert that the GPU holds")
    half_read: float = Field(
        0.0, ge=0, description="width of an expert's slice that halves the share of memory"
    )
    half_multiply: float = Field(0.0, ge=0, description="the same of compute")


class Exchange(Strict):
    """All-reduces of a generation of GPUs: one-shot, each sends all of its own to all, or two-shot, parts."""

    reduce_s: Floors = Field(description="of a small one, replayed from a graph")
    one_shot_bytes_per_s: float = Field(
        gt=0, description="of one GPU that sends all of its own to each other one"
    )
    two_shot_s: float = Field(ge=0, description="more of one in two goes, whose rate is bytes_per_s")
    launch_s: float = Field(ge=0, description="more where it is launched alone: what one launch costs")
    bytes_per_s: dict[int, float] = Field(description="of one GPU, by how many there are")


class Kernels(Strict):
    """What kernels cost alone, fitted on operator tables (scripts/fit_kernels)."""

    gemm: dict[str, dict[str, dict[str, Kernel]]] = Field(description="by generation, format, engine")
    experts: dict[str, dict[str, dict[str, Kernel]]] = Field(description="by generation, format, engine")
    attention: dict[str, dict[str, Floors]] = Field(
        description="by generation: floors of a decode step by kind, shares of the peak in prefill"
    )
    exchange: dict[str, Exchange]


class RooflineConstants(Strict):
    """What engines add to kernels, fitted on served models (scripts/fit_roofline)."""

    gemm_pace: float = Field(gt=0, description="time of dense layers over that of the kernels alone")
    expert_pace: float = Field(gt=0, description="the same of experts")
    kv_pace: float = Field(gt=0, description="the same of reading KV")
    exchange_pace: float = Field(gt=0, description="the same of exchanged bytes")
    floor_pace: dict[str, float] = Field(
        description="the same of what no size makes shorter, by generation; 1 where there is none"
    )
    expert_spread: float = Field(
        gt=0, le=1, description="share of a further token's choices that are independent of the others'"
    )
    layer_s: dict[str, float] = Field(description="per layer and step, by engine: what lies between kernels")
    step_s: dict[str, float] = Field(description="per step, by engine: scheduler, sampler")
    sequence_s: float = Field(ge=0, description="per decoding sequence and step")
    prompt_s: float = Field(ge=0, description="per chunk of a prompt")
    entry_s: dict[str, float] = Field(description="from a request's arrival to its queue, by backend")
    entry_token_s: float = Field(ge=0, description="and so much for each token of the prompt, cached or not")
    entry_steps: dict[str, float] = Field(description="and so many steps more, by backend")
    activation_bytes: float = Field(ge=0, description="of a GPU's memory, for graphs and buffers")
    measured_tokens_max: int = Field(ge=1, description="longest input that was measured")
