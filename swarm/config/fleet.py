"""The emulated fleet: replicas, memory tiers, router."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from swarm.config.provider import ProviderConfig
from swarm.config.serving import ServingConfig
from swarm.config.strict import Strict
from swarm.config.transfers import LinksConfig, TransferConfig
from swarm.hit_names import TierName

Precision = Literal["bf16", "fp8", "fp4", "int4"]
KvPrecision = Literal["bf16", "fp8"]
BackendName = Literal["vllm", "sglang", "trtllm"]
RouterName = Literal["round_robin", "least_loaded", "session_affine", "prefix_aware", "scored", "sticky"]
ROUTER_KEYS: Mapping[str, str] = {
    "prefix_aware": "router_reply_tokens",
    "scored": "router_scores",
    "sticky": "router_sticky",
}
"""The key of a fleet that goes with one router alone."""

GIB_MAX = 1e12
"""A zettabyte: bytes stay exact whole numbers."""


EvictionName = Literal["lru", "fifo", "watermark"]
WriteMode = Literal["write_through", "write_through_selective", "write_back"]


class WatermarkConfig(Strict):
    """Batches that leave a tier over a watermark, and leases; defaults are those of Mooncake's store."""

    eviction_high_watermark_ratio: float = Field(
        0.95, gt=0, le=1, description="a batch leaves when more of the capacity than this is held"
    )
    eviction_ratio: float = Field(
        0.05, gt=0, le=1, description="of the blocks held, what leaves at least at once"
    )
    kv_lease_ttl_s: float = Field(
        5.0, ge=0, description="a block that was read, or found to be there, is not evicted for so long"
    )
    soft_pin_tokens: int = Field(
        0, ge=0, description="so many tokens of each prompt's beginning are evicted after all others"
    )
    kv_soft_pin_ttl_s: float = Field(1800.0, ge=0, description="until so long after their lease has ended")


class PinnedConfig(Strict):
    """Prompts' beginnings that are never evicted and never expire, such as system prompts: first come."""

    tokens: int = Field(ge=1, description="so many tokens of each prompt's beginning, in whole blocks")
    share: float = Field(0.1, gt=0, le=0.9, description="the most of the tier's capacity that they may take")


class TierConfig(Strict):
    """One memory that holds KV blocks; bandwidths are of one instance of the tier (see `scope`)."""

    name: TierName = Field(description="which memory; a fleet has each at most once")
    capacity_gib: float | None = Field(
        None,
        gt=0,
        le=GIB_MAX,
        description="of one instance, in 2^30 bytes; of hbm: of one replica, over all its GPUs and ranks. "
        "No capacity_* at all: for hbm what the cost model leaves; else unlimited",
    )
    capacity_gb: float | None = Field(
        None, gt=0, le=GIB_MAX, description="the same in 10^9 bytes; one capacity_* is stated at most"
    )
    capacity_tokens: int | None = Field(
        None, ge=1, description="the same in tokens of KV, whole blocks of it"
    )
    capacity_blocks: int | None = Field(None, ge=1, description="the same in blocks of `block_tokens`")
    capacity_of_hbm: float | None = Field(
        None,
        gt=0,
        le=1e9,
        description="the same as a multiple of the HBM for KV of the replicas that share the instance",
    )
    scope: Literal["rank", "replica", "node", "cluster"] = Field(
        "replica", description="who shares one instance of it; a replica has `dp` ranks"
    )
    ttl_s: float | None = Field(None, gt=0, description="sliding; null: none")
    eviction: EvictionName = Field(
        "lru", description="what leaves first: the least recently used, the first written, or batches"
    )
    watermark: WatermarkConfig | None = Field(
        None, description="of `eviction: watermark`; null: its defaults"
    )
    pinned: PinnedConfig | None = Field(None, description="what is never evicted; null: nothing")
    inclusive: bool = Field(True, description="a promoted block keeps its copy here")
    write: WriteMode | None = Field(
        None,
        description="when blocks are written here: as their request ends, as it ends if they were used "
        "`write_threshold` times, or when they are evicted above; null: write_through if inclusive, "
        "else write_back",
    )
    write_threshold: int | None = Field(
        None,
        ge=2,
        le=1000,
        description="of write_through_selective: uses in HBM, with the first; null: 2",
    )
    read_gib_per_s: float | None = Field(None, gt=0, description="null: no limit")
    write_gib_per_s: float | None = Field(None, gt=0, description="null: no limit")
    read_latency_s: float = Field(0.0, ge=0, description="before the first byte of a load")
    write_latency_s: float = Field(0.0, ge=0, description="before the first byte of a write")
    write_policy: Literal["drop", "block"] = Field(
        "drop", description="what a write beyond `write_queue_gib` does: it is dropped, or the rank waits"
    )
    link_gib_per_s: float | None = Field(
        None, gt=0, description="most that one replica reads or writes here at once; null: no limit"
    )
    write_queue_gib: float = Field(64.0, gt=0, description="writes waiting beyond this are dropped or block")
    connector: str | None = Field(
        None,
        description="what moves blocks: a name of `swarm catalog connectors`, or a path to a YAML file",
    )
    transfers: TransferConfig = Field(
        TransferConfig(), description="how blocks are copied, where it is not as the connector does"
    )

    @property
    def is_limited(self) -> bool:
        """Whether a capacity is stated, in whatever unit."""
        return bool(self._capacities())

    @property
    def write_mode(self) -> WriteMode:
        """When blocks are written here, as stated or by `inclusive`."""
        return self.write or ("write_through" if self.inclusive else "write_back")

    def _capacities(self) -> list[str]:
        return [
            name for name in type(self).model_fields if name.startswith("capacity_") and getattr(self, name)
        ]

    @model_validator(mode="after")
    def _one_capacity(self) -> Self:
        stated = self._capacities()
        if len(stated) > 1:
            raise ValueError(f"{' and '.join(stated)} are stated; state one, set the others to null")
        if self.name == "hbm" and self.capacity_of_hbm is not None:
            raise ValueError("capacity_of_hbm: a tier below hbm is expected; of hbm state capacity_gib")
        return self


class ParallelismConfig(Strict):
    """How one instance is spread over GPUs."""

    tp: int = Field(1, ge=1, description="GPUs that each layer is cut over")
    pp: int = Field(1, ge=1, description="pipeline stages")
    dp: int = Field(1, ge=1, description="data parallel ranks, each with caches of its own")
    ep: int = Field(1, ge=1, description="GPUs that experts are spread over")


class ReplicaGroupConfig(Strict):
    """Alike replicas."""

    count: int = Field(1, ge=1, le=10_000, description="how many of them")
    role: Literal["aggregated", "prefill", "decode"] = Field(
        "aggregated", description="does both, or one half of a disaggregated pair"
    )
    gpu: str = Field("H100", description="a name of the catalogue, or a path to a YAML file")
    parallelism: ParallelismConfig = ParallelismConfig()
    per_node: int = Field(1, ge=1, description="replicas that share a node (and its DRAM)")
    max_batched_tokens: int = Field(
        8192, ge=1, description="tokens of one step, prompts' chunks and decoded ones"
    )
    max_sequences: int = Field(256, ge=1, description="sequences of one step")


class SimpleCostConfig(Strict):
    """Seconds from stated rates: for tests, closed forms and quick starts."""

    kind: Literal["simple"] = "simple"
    prefill_tokens_per_s: float = Field(20_000.0, gt=0, description="prompt tokens computed by one replica")
    prefill_per_context_token_s: float = Field(
        0.0, ge=0, description="attention: for each new token of a prompt, and each token before it"
    )
    prefill_chunk_s: float = Field(
        0.0,
        ge=0,
        description="added to a step for each prompt that it computes some of, however little: everybody who "
        "decodes in it waits for that, while nobody waits for another's entry_s",
    )
    prefill_chunk_per_token_s: float = Field(
        0.0, ge=0, description="the same for each token of that prompt so far, cached ones included"
    )
    prefill_alone_s: float = Field(
        0.0,
        ge=0,
        description="added to a step that computes prompts and decodes for nobody: what is decode_base_s's "
        "where somebody decodes in it, such as reading the weights",
    )
    entry_s: float = Field(0.0, ge=0, description="from a request's arrival to its rank's queue")
    entry_per_token_s: float = Field(0.0, ge=0, description="the same for each prompt token, cached or not")
    entry_alone: float = Field(
        0.0,
        ge=0,
        le=100,
        description="times its entry for which a request keeps those behind it at its rank waiting: 0 where "
        "any number enter side by side, 1 where one at a time does, more where the front also has later work "
        "with each; each of `dp` ranks has a front of its own",
    )
    decode_base_s: float = Field(0.01, gt=0, description="one decode step of a batch of one")
    decode_per_sequence_s: float = Field(0.0, ge=0, description="added to a step for each sequence")
    decode_per_context_token_s: float = Field(
        0.0, ge=0, description="added to a step for each token of context"
    )
    kv_bytes_per_token: float = Field(
        131_072.0, gt=0, le=1e12, description="KV of one token, over all layers"
    )
    steps_longer: float = Field(
        0.0,
        gt=-0.5,
        le=2.0,
        description="share by which steps took longer than these rates say on a load that calibration held "
        "out, less than 0 where they took less; no step takes it, but `swarm capacity` answers for it too",
    )
    kv_capacity_tokens: int = Field(4_000_000, ge=1, description="HBM left for KV on one replica")
    layers: int = Field(64, ge=1, description="of the model, for loads that overlap with prefill by layers")


class SpeculativeConfig(Strict):
    """Tokens that a small model drafts and a step of the large one checks at once."""

    draft_tokens: int = Field(ge=1, le=64, description="drafted for each step of a sequence")
    acceptance_length: float = Field(
        ge=1, description="tokens that a step gives on average, its own included"
    )
    draft_layers: float = Field(
        1.0,
        ge=0,
        description="of the draft, in layers of the model: 1 for a next-token layer or EAGLE, 0 for n-grams",
    )


class RooflineCostConfig(Strict):
    """Seconds from the model's and the GPU's catalogue entries."""

    kind: Literal["roofline"] = "roofline"
    model: str = Field("Llama-3.3-70B", description="a name of the catalogue, or a path to a YAML file")
    precision: Precision = Field("fp8", description="of the weights that a checkpoint quantizes")
    kv_precision: KvPrecision = Field("bf16", description="of the KV cache; engines' `auto` is bf16")
    backend: BackendName = Field("vllm", description="the engine whose overheads are taken")
    memory_fraction: float = Field(
        0.9, gt=0, le=1, description="of a GPU's memory that the engine takes for weights and KV"
    )
    eager: bool = Field(False, description="kernels are launched one by one, not replayed from graphs")
    speculative: SpeculativeConfig | None = Field(None, description="speculative decoding; null: none")
    kv_bytes_per_token: float | None = Field(
        None, gt=0, le=1e12, description="KV of one token over all layers; null: from the model's shape"
    )
    kv_capacity_tokens: int | None = Field(
        None, ge=1, description="HBM left for KV on one replica; null: what weights leave"
    )

    @model_validator(mode="after")
    def _one_pool(self) -> Self:
        default = type(self).model_fields["memory_fraction"].default
        if self.kv_capacity_tokens is not None and self.memory_fraction != default:
            raise ValueError(
                f"memory_fraction {self.memory_fraction:g} asked with kv_capacity_tokens "
                f"{self.kv_capacity_tokens}, which leaves it no say; state one of them"
            )
        return self


class RouterScoresConfig(Strict):
    """Weights of `router: scored`; each score lies in [0, 1]. The defaults are llm-d's."""

    prefix: float = Field(
        3.0, ge=0, description="share of the prompt that the router sent there, as far as HBM could hold it"
    )
    lower_prefix: float = Field(
        0.0, ge=0, description="the same, as far as the tiers below HBM could hold it"
    )
    kv_usage: float = Field(2.0, ge=0, description="share of the KV pool that no open request holds")
    queue: float = Field(
        2.0, ge=0, description="waiting requests: 1 for the fewest of all ranks, 0 for the most"
    )
    requests: float = Field(0.0, ge=0, description="open requests: 1 for none, 0 for the most of all ranks")
    prefix_tokens_max: int | None = Field(
        None, ge=1, description="only so many first tokens of a prompt are looked at; null: all"
    )


class RouterStickyConfig(Strict):
    """Bounds of `router: sticky`. The defaults are llm-d's."""

    prefix_share: float = Field(
        0.8, gt=0, le=1, description="of a prompt that a rank must have been sent before, to be kept to"
    )
    behind_tokens_max: int | None = Field(
        286_720,
        ge=0,
        description="prompt tokens to compute that the best of those ranks may have more than the best of "
        "the others, before any rank is taken: 18 s at the 15,928 tokens/s of 2 x H100; null or 0: no bound",
    )
    prefix_tokens_max: int | None = Field(
        131_072, ge=1, description="only so many first tokens of a prompt are looked at; null: all"
    )


StatesSaved = Literal["every_chunk", "prompt_end"]


class StatesConfig(Strict):
    """What layers with a state of fixed size leave in a prefix cache, beside the KV of the others."""

    blocks: int = Field(
        ge=1,
        le=1000,
        description="of the pool that one saved state takes: in vLLM a page of each group of such layers",
    )
    saved: StatesSaved = Field(
        "every_chunk",
        description="every_chunk: after each chunk of a prompt that ends with a block, and each block of a "
        "reply; prompt_end: only the last one that the same prompt can hit",
    )


class FleetConfig(Strict):
    """An emulated fleet."""

    name: str = Field(
        "fleet",
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="names the fleet, and the model where the cost names none",
    )
    block_tokens: int = Field(16, ge=1, description="tokens of one block of the prefix cache")
    cost: Annotated[SimpleCostConfig | RooflineCostConfig, Field(discriminator="kind")] = SimpleCostConfig()
    replicas: tuple[ReplicaGroupConfig, ...] = Field((ReplicaGroupConfig(),), min_length=1)
    tiers: tuple[TierConfig, ...] = Field((TierConfig(name="hbm"),), min_length=1)
    states: StatesConfig | None = Field(
        None,
        description="of a model with linear layers: a hit goes on only where a state was saved, and saved "
        "states take room in the pool; null: states are free and everywhere",
    )
    router: RouterName = Field("prefix_aware", description="how requests are spread over replicas")
    router_reply_tokens: int = Field(
        128, ge=0, description="reply that prefix_aware assumes when it weighs what a rank decodes"
    )
    router_scores: RouterScoresConfig = RouterScoresConfig()
    router_sticky: RouterStickyConfig = RouterStickyConfig()
    kv_link_gib_per_s: float = Field(50.0, gt=0, description="prefill to decode, per instance")
    kv_link_latency_s: float = Field(0.001, ge=0, description="prefill to decode, per transfer")
    links: LinksConfig = Field(LinksConfig(), description="links that ranks and nodes share")
    recompute_when_faster: bool = Field(
        True, description="compute what would take longer to load from a lower tier"
    )
    max_model_len: int | None = Field(
        None, ge=1, description="null: the model's of the catalogue, or 1,048,576 where there is none"
    )
    max_waiting: int = Field(100_000, ge=1, description="requests waiting beyond this are refused")
    serving: ServingConfig = ServingConfig()
    provider: ProviderConfig | None = Field(None, description="limits on customers, prices; null: neither")
    retry_after_s: float = Field(1.0, ge=0, description="what a request refused for that is told to wait")

    @model_validator(mode="after")
    def _one_pool(self) -> Self:
        tokens = self.cost.kv_capacity_tokens if isinstance(self.cost, RooflineCostConfig) else None
        if tokens is not None and any(tier.name == "hbm" and tier.is_limited for tier in self.tiers):
            raise ValueError(
                f"cost.kv_capacity_tokens {tokens} asked with a capacity of tier hbm, which leaves it no "
                "say; state one of them"
            )
        return self

    @model_validator(mode="after")
    def _router_of_its_keys(self) -> Self:
        fields = type(self).model_fields
        for router, key in ROUTER_KEYS.items():
            if self.router != router and getattr(self, key) != fields[key].default:
                raise ValueError(
                    f"{key} asked with router {self.router!r}, which has no use for it; "
                    f"set router to {router!r}, or leave {key} out"
                )
        return self
