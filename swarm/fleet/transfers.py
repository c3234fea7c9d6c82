"""How a tier's blocks are copied: as its configuration states, else as its connector does, else free."""

from __future__ import annotations

import math
from dataclasses import dataclass

from swarm.config.fleet import TierConfig
from swarm.config.transfers import LoadMode, TransferConfig
from swarm.fleet.catalog.read import find_connector
from swarm.fleet.objects import Objects
from swarm.units import GIB


@dataclass(frozen=True, slots=True)
class Copying:
    """How one tier's blocks are copied."""

    objects: Objects | None
    """What a copy costs besides its bytes; None: nothing."""
    load: LoadMode
    step_slowdown: float
    half_duplex: bool


def copying_of(tier: TierConfig, bytes_per_token: float) -> Copying:
    """Return how a tier's blocks are copied, each token's KV being so many bytes.

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
        objects=_objects(stated, bytes_per_token),
        load=stated.load or "beside",
        step_slowdown=stated.step_slowdown or 0.0,
        half_duplex=bool(stated.half_duplex),
    )


def _objects(stated: TransferConfig, bytes_per_token: float) -> Objects | None:
    if not stated.object_s and stated.stream_gib_per_s is None:
        return None
    return Objects(
        object_bytes=math.inf if stated.object_tokens is None else stated.object_tokens * bytes_per_token,
        object_s=stated.object_s or 0.0,
        streams=math.inf if stated.streams is None else stated.streams,
        stream_bytes_per_s=math.inf if stated.stream_gib_per_s is None else stated.stream_gib_per_s * GIB,
    )
