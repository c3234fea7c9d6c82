"""What a GPU gives to each precision of numbers."""

from __future__ import annotations

from swarm.config.catalog import GpuEntry
from swarm.config.fleet import Precision


def peak_flops(gpu: GpuEntry, weight_precision: Precision) -> float:
    """Return the dense peak for weights of a precision.

    Weights of a precision that the GPU has no matrices for are widened to 16 bits first.
    """
    peak = {"fp8": gpu.fp8_flops, "fp4": gpu.fp4_flops, "bf16": gpu.bf16_flops}[weight_precision]
    return (peak or gpu.bf16_flops).value
