"""Objectives that a run is held against."""

from typing import Literal

from pydantic import Field

from swarm.config.strict import Strict

Metric = Literal["ttft_s", "effective_ttft_s", "tpot_s", "e2e_s", "itl_s"]


class ObjectiveConfig(Strict):
    """`quantile` of `metric` stays at or below `at_most`."""

    metric: Metric
    quantile: float = Field(0.95, gt=0, lt=1)
    at_most: float = Field(gt=0)

    @property
    def name(self) -> str:
        """The objective's name in reports: `effective_ttft_s p95`."""
        return f"{self.metric} p{self.quantile * 100:g}"
