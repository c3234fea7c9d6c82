"""Seconds of kernels: from operator tables, with what an engine adds to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from swarm.config.catalog import Exchange, Floors, Kernel, Kernels, RooflineConstants
from swarm.config.fleet import KvPrecision, Precision
from swarm.fleet.cost.hardware import peak_flops
from swarm.fleet.cost.model import Format
from swarm.fleet.cost.served import Served

CLOSEST = {
    "ada": "hopper",
    "ampere": "hopper",
    "cdna3": "hopper",
    "blackwell": "hopper",
    "hopper": "blackwell",
}
"""Whose kernels are taken where a generation has none."""
ANY = "any"
SHARE_MAX = 0.95
"""Of a peak: what a chip with cut matrices comes to, where they are all that it waits for."""
WIDENED: dict[Format, tuple[Format, ...]] = {
    "bf16": ("bf16",),
    "fp8": ("fp8", "bf16"),
    "fp4": ("fp4", "fp8", "bf16"),
    "mxfp4": ("mxfp4", "fp4", "fp8", "bf16"),
    "int4": ("int4", "fp8", "bf16"),
}
"""Kernels of a format, then those that are closest."""
KV_BYTES: dict[KvPrecision, int] = {"bf16": 2, "fp8": 1}
BY_ENGINE = ("gqa_s",)
"""Attention that an engine's own kernel does; the rest is a module's, or close from engine to engine."""
Value = TypeVar("Value")


class KernelTimes:
    """Kernels of one engine on one GPU."""

    def __init__(self, served: Served, kernels: Kernels, constants: RooflineConstants) -> None:
        self._served = served
        self._kernels = kernels
        self._constants = constants
        self._gpu = served.gpu
        self._floor_pace = constants.floor_pace.get(served.gpu.generation, 1.0)

    def gemm(self, stored: Format) -> Kernel:
        """Return the kernel of dense layers whose weights are stored so."""
        # Which engine matters little: they call the same libraries.
        return self._kernel(self._kernels.gemm, stored, ANY)

    def experts(self, stored: Format) -> Kernel:
        """Return the kernel of layers of experts."""
        return self._kernel(self._kernels.experts, stored, self._served.backend)

    def read_s(self, kernel: Kernel, pace: float) -> float:
        """Return the seconds of a byte."""
        return pace / (self._gpu.memory_bytes_per_s.value * kernel.memory)

    def weight_s(self, kernel: Kernel, stored: Format, pace: float) -> float:
        """Return the seconds of one weight and one token: two operations."""
        peak = peak_flops(self._gpu, self._multiplied(stored))
        return 2.0 * pace / (peak * self._share(kernel.compute))

    def gemm_floor_s(self, stored: Format) -> float:
        """Return the seconds of a dense layer that no size makes shorter."""
        return self.gemm(stored).floor_s * self._floor_pace

    def experts_floor_s(self, stored: Format, held: float) -> float:
        """Return the same of a layer of experts, of which each GPU holds so many."""
        kernel = self.experts(stored)
        return (kernel.floor_s + held * kernel.expert_s) * self._floor_pace

    def attention_floor_s(self, key: str) -> float:
        """Return the same of an attention layer's kernels in a step that decodes."""
        return self._attention(key) * self._floor_pace

    def module_floor_s(self, key: str, stored: Format) -> float:
        """Return the same of an attention module's whose projections are stored so."""
        by = self._kernels.attention
        for generation in _generations(self._gpu.generation, by):
            for one in WIDENED[stored]:
                floors = by[generation].get(f"{key[:-2]}_{one}_s")
                if floors is not None:
                    # A module's time moves as much with an engine's version as with the engine.
                    return floors[ANY] * self._floor_pace
        raise KeyError(key)

    def reduce_s(self) -> float:
        """Return the same of an exchange."""
        return _engine(self.exchange().reduce_s, self._served.backend) * self._floor_pace

    def held_s(self, key: str, precision: KvPrecision) -> float:
        """Return the seconds of reading one number of the cache: `kv`, or `latent` vectors."""
        share = self._attention(f"{key}_{precision}")
        bandwidth = self._gpu.memory_bytes_per_s.value
        return KV_BYTES[precision] * self._constants.kv_pace / (bandwidth * share)

    def pair_operations_per_s(self, key: str) -> float:
        """Return what attention over a prompt does a second."""
        share = self._share(self._attention(key))
        return self._gpu.bf16_flops.value * share

    def index_operations_per_s(self) -> float:
        """Return the same of an indexer, in 8 bits."""
        return peak_flops(self._gpu, "fp8") * self._attention("index")

    def exchange(self) -> Exchange:
        """Return the all-reduces of the GPU's generation."""
        return _closest(self._kernels.exchange, self._gpu.generation)

    def exchange_bytes_per_s(self, gpus: int) -> float:
        """Return what one GPU of a group sends per second: over links while the group fits their domain."""
        rates = self.exchange().bytes_per_s
        return self._sent_per_s(gpus, rates[min(rates, key=lambda count: abs(count - gpus))])

    def one_shot_bytes_per_s(self, gpus: int) -> float:
        """Return the same where it sends all of its own to each other one."""
        return self._sent_per_s(gpus, self.exchange().one_shot_bytes_per_s)

    def two_shot_s(self) -> float:
        """Return what an all-reduce in two goes takes more than one in one go, whatever its size."""
        return self.exchange().two_shot_s * self._floor_pace

    def _sent_per_s(self, gpus: int, measured: float) -> float:
        gpu = self._gpu
        wire = gpu.link_bytes_per_s if gpus <= gpu.link_gpus.value else gpu.network_bytes_per_s
        return min(wire.value, measured / self._constants.exchange_pace)

    def _kernel(
        self, by: Mapping[str, Mapping[str, Mapping[str, Kernel]]], stored: Format, engine: str
    ) -> Kernel:
        formats = WIDENED[stored]
        for generation in _generations(self._gpu.generation, by):
            for one in formats:
                if one in by[generation]:
                    return _engine(by[generation][one], engine)
        raise KeyError(stored)

    def _attention(self, key: str) -> float:
        by = self._kernels.attention
        floors: Mapping[str, Floors] = next(
            by[generation] for generation in _generations(self._gpu.generation, by) if key in by[generation]
        )
        # A module's time moves as much with an engine's version as with the engine.
        return _engine(floors[key], self._served.backend if key in BY_ENGINE else ANY)

    def _multiplied(self, stored: Format) -> Precision:
        """Return what weights are multiplied as: MXFP4 in 8 bits where the GPU has 4-bit matrices."""
        if stored == "mxfp4":
            return "fp8" if self._gpu.fp4_flops else "bf16"
        return "bf16" if stored == "int4" else stored

    def _share(self, share: float) -> float:
        """Return a share of this GPU's peak: more of it where its matrices are cut."""
        uncut = self._gpu.uncut_bf16_flops
        if uncut is None:
            return share
        return min(SHARE_MAX, share * uncut.value / self._gpu.bf16_flops.value)


def _engine(by: Mapping[str, Value], engine: str) -> Value:
    return by[engine] if engine in by else by[ANY]


def _generations(own: str, by: Mapping[str, object]) -> list[str]:
    """Return the generations to look in: a GPU's own, the closest, then all."""
    return [one for one in (own, CLOSEST.get(own, "hopper"), *by) if one in by]


def _closest(by: Mapping[str, Value], own: str) -> Value:
    return by[_generations(own, by)[0]]
