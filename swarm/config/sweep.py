"""A sweep: one experiment at many points of a grid."""

from typing import Any

from pydantic import Field, field_validator

from swarm.config.strict import Strict

POINTS_MAX = 10_000


class SweepConfig(Strict):
    """Every combination of the grid's values, at every seed."""

    grid: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict, description="dotted key of the experiment -> values; a value may be a mapping"
    )
    labels: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="names for a key's values, in their order, for charts"
    )
    seeds: tuple[int, ...] = Field((), description="none: the experiment's own seed")
    x: str | None = Field(None, description="key on the x axis of the comparison chart")
    y: tuple[str, ...] = Field(
        ("throughput.output_tokens_per_s", "effective_ttft_s.p95", "cache.hit_rate"),
        description="dotted figures of summary.json, a chart each",
    )

    @field_validator("grid")
    @classmethod
    def _values_are_given(cls, grid: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, values in grid.items():
            if not values:
                raise ValueError(f"{key}: at least one value is expected")
        return grid
