"""How a tier's blocks are copied: as its configuration states, else as its connector does, else free."""

from __future__ import annotations

import math
from dataclasses import dataclass

from swarm.config.fleet import TierConfig
from swarm.config.transfers import LoadMode, StoreMode, TransferConfig
from swarm.fleet.catalog.read import find_connector
from swarm.fleet.transfers.objects import Objects
from swarm.units import GIB


@dataclass(frozen=True, slots=True)
class Copying:
    """How one tier's blocks are copied."""

    objects: Objects | None
    """What a copy costs besides its bytes; None: nothing."""
    streams_shared: bool
    """A rank's loads share the streams, and so do its stores."""
    load: LoadMode
    store: StoreMode
    look_up_s: float
    step_s: float
    step_slowdown: float
    both_ways: float


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What the tiers below cost a rank besides what is loaded."""

    look_up_s: float
    """Of each request, before its queue."""
    step_s: float
    """Of each step."""
    token_s: float
    """Of each prompt token that a step computes."""


def copying_of(tier: TierConfig, *, token_bytes: float, layers: int, kv_shards: float) -> Copying:
    """Return how a tier's blocks are copied by a rank whose KV is cut over so many GPUs.

    Raises:
        ConfigError: Its connector is in no catalogue.
    """
    stated = tier.transfers
    if tier.connector is not None:
        usual = find_connector(tier.connector).transfers
        stated = TransferConfig(
            **{**usual.model_dump(exclude_none=True), **stated.model_dump(exclude_none=True)}
        )
    return Copying(
        objects=_objects(stated, token_bytes=token_bytes, layers=layers, kv_shards=kv_shards),
        streams_shared=bool(stated.streams_shared),
        load=stated.load or "beside",
        store=stated.store or "beside",
        look_up_s=stated.look_up_s or 0.0,
        step_s=stated.step_s or 0.0,
        step_slowdown=stated.step_slowdown or 0.0,
        both_ways=2.0 if stated.both_ways is None else stated.both_ways,
    )


def _objects(stated: TransferConfig, *, token_bytes: float, layers: int, kv_shards: float) -> Objects | None:
    if not stated.object_s and stated.stream_gib_per_s is None:
        return None
    stream_gib_per_s = math.inf if stated.stream_gib_per_s is None else stated.stream_gib_per_s * kv_shards
    return Objects(
        object_bytes=math.inf if stated.object_tokens is None else stated.object_tokens * token_bytes,
        object_s=(stated.object_s or 0.0) * (layers if stated.objects_by_layer else 1),
        streams=math.inf if stated.streams is None else stated.streams,
        stream_bytes_per_s=stream_gib_per_s * GIB,
    )
