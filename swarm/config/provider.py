"""What a provider sells: plans with token limits, and prices."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from swarm.config.prices import PricesConfig
from swarm.config.strict import Strict


class ProviderConfig(Strict):
    """Limits on what one customer may ask for, and what it costs. A limit that is null does not exist."""

    per: Literal["session", "all"] = Field(
        "session", description="who shares one plan: the agents of a session (a person), or everybody"
    )
    input_tokens_per_minute: float | None = Field(
        None, gt=0, description="refilled all the time; at most a minute's worth is saved up"
    )
    output_tokens_per_minute: float | None = Field(None, gt=0, description="refilled likewise")
    cached_weight: float = Field(
        0.0, ge=0, le=1, description="of a cached input token in the limits; 0: free, 1: as any other"
    )
    allotment_tokens: float | None = Field(
        None, gt=0, description="input (weighted) and output together, within any `allotment_window_s`"
    )
    allotment_window_s: float = Field(18_000.0, gt=0, description="the allotment's sliding window")
    prices: PricesConfig | None = None
    cache_ttl_s: float | None = Field(
        None,
        gt=0,
        description="what cache writes are billed for; null: the longest TTL of the fleet's tiers",
    )

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        fields = type(self).model_fields
        for key, is_used, needed in (
            ("cached_weight", self.has_limits, "a limit, such as input_tokens_per_minute"),
            ("allotment_window_s", self.allotment_tokens is not None, "allotment_tokens"),
            ("cache_ttl_s", self.prices is not None, "prices"),
        ):
            stated = getattr(self, key)
            if not is_used and stated != fields[key].default:
                raise ValueError(
                    f"{key} {stated:g} asked, which nothing uses; state {needed}, or leave it out"
                )
        return self

    @property
    def has_limits(self) -> bool:
        """Whether a plan can refuse a request until later."""
        limits = (self.input_tokens_per_minute, self.output_tokens_per_minute, self.allotment_tokens)
        return any(limit is not None for limit in limits)
