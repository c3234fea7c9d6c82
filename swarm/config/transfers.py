"""How KV moves between HBM and the tiers below it: objects, streams, what steps wait for, shared links."""

from typing import Literal

from pydantic import Field

from swarm.config.strict import Strict

LoadMode = Literal["beside", "block", "layers"]
StoreMode = Literal["beside", "block"]


class TransferConfig(Strict):
    """How a tier's blocks are copied. What is null is the connector's; without one as each key says."""

    object_tokens: int | None = Field(
        None,
        ge=1,
        description="tokens of one object or batch of blocks; else all are one",
    )
    object_s: float | None = Field(
        None, ge=0, description="spent on each object besides its bytes, by the stream that copies it; else 0"
    )
    objects_by_layer: bool | None = Field(
        None, description="`object_s` is spent on each layer of an object; else once"
    )
    streams: int | None = Field(
        None, ge=1, description="objects of one load or store under way at once; else as many as there are"
    )
    streams_shared: bool | None = Field(
        None, description="all loads of a rank share its streams, and all its stores; else each has its own"
    )
    stream_gib_per_s: float | None = Field(
        None,
        gt=0,
        description="most that one stream moves for each GPU over which a rank's KV is cut; else no limit",
    )
    load: LoadMode | None = Field(
        None,
        description="beside: steps go on and the request waits for its load (so without a connector). "
        "block: the step that admits a request waits for its load. layers: that step computes each layer "
        "when its KV is here",
    )
    store: StoreMode | None = Field(
        None,
        description="beside: stores go on beside the steps (so without a connector). block: a step that "
        "computes prompts ends when what it computed is copied; of tiers that are written through",
    )
    look_up_s: float | None = Field(
        None,
        ge=0,
        description="spent before its queue by each request of a fleet with the tier, which is asked what it "
        "holds; else 0",
    )
    step_s: float | None = Field(
        None,
        ge=0,
        description="added to each step of a rank of several GPUs, which agree on what is copied; else 0",
    )
    step_slowdown: float | None = Field(
        None,
        ge=0,
        le=10,
        description="added share of a rank's steps while the tier is read or written; else 0",
    )
    both_ways: float | None = Field(
        None,
        ge=1,
        le=2,
        description="what reads and writes together may move, over what one direction may: 1 is half duplex; "
        "else 2",
    )


class LinksConfig(Strict):
    """Links that all tiers of a rank or node share, one direction; null: no limit."""

    gpu_gib_per_s: float | None = Field(
        None,
        gt=0,
        description="host link (PCIe) of one GPU, for each GPU that a rank's KV is cut over; null: for tiers "
        "with a connector and no link_gib_per_s 0.8 of what the GPU's PCIe moves on paper, where the "
        "roofline names the GPU",
    )
    node_gib_per_s: float | None = Field(
        None, gt=0, description="host memory and PCIe root that the ranks of a node share"
    )
    nic_gib_per_s: float | None = Field(
        None,
        gt=0,
        description="network cards of a node, shared by its ranks: to tiers of scope cluster, and KV between "
        "prefill and decode replicas on different nodes",
    )
    both_ways: float = Field(
        2.0,
        ge=1,
        le=2,
        description="what both directions of each may move together, over one: 1: half duplex",
    )
