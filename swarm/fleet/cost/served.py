"""What runs on what, and how: the question that a roofline answers."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.config.catalog import GpuEntry, ModelEntry
from swarm.config.fleet import (
    BackendName,
    KvPrecision,
    ParallelismConfig,
    Precision,
    SpeculativeConfig,
)


@dataclass(frozen=True, slots=True)
class Served:
    """A model on GPUs, as an engine serves it."""

    model: ModelEntry
    gpu: GpuEntry
    parallelism: ParallelismConfig
    precision: Precision
    kv_precision: KvPrecision
    backend: BackendName
    eager: bool
    speculative: SpeculativeConfig | None
