"""Objectives that a run is held against."""

from typing import Literal, Self

from pydantic import Field, model_validator

from swarm.config.strict import Strict

Metric = Literal[
    "ttft_s",
    "effective_ttft_s",
    "tpot_s",
    "e2e_s",
    "itl_s",
    "output_tokens_per_s",
    "session_s",
    "subagent_s",
]
COMPLETIONS = ("session_s", "subagent_s")
"""Metrics of agents that have ended; all others are of requests."""


class ObjectiveConfig(Strict):
    """`quantile` of the requests (or agents) have a `metric` at most, or at least, this much.

    `of: agents` asks it of each agent's own requests, and `share` of the agents must comply; `of: windows`
    asks it of each stretch of `window_s`.
    """

    metric: Metric = Field(description="what is measured")
    quantile: float = Field(0.95, gt=0, lt=1, description="share that must comply")
    at_most: float | None = Field(None, gt=0, description="most that complies")
    at_least: float | None = Field(None, gt=0, description="least value that complies")
    role: str | None = Field(None, description="only requests of agents of this role")
    context_from: int = Field(0, ge=0, description="only prompts of at least this many tokens")
    context_below: int | None = Field(None, ge=1, description="and of fewer than this; null: any")
    of: Literal["requests", "agents", "windows"] = Field("requests", description="whose share is asked for")
    share: float = Field(0.95, gt=0, le=1, description="agents or windows that must comply")
    window_s: float = Field(10.0, gt=0, description="length of a stretch of `of: windows`")

    @model_validator(mode="after")
    def _is_one_bound(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("an objective has either at_most or at_least")
        if self.context_below is not None and self.context_below <= self.context_from:
            raise ValueError("context_below is not above context_from")
        if self.metric in COMPLETIONS and (self.of != "requests" or self.context_from or self.context_below):
            raise ValueError(f"{self.metric} is of whole agents: it takes no `of` and no context")
        return self

    @property
    def bound(self) -> float:
        """The value that must not be passed."""
        bound = self.at_most if self.at_most is not None else self.at_least
        assert bound is not None
        return bound

    @property
    def told(self) -> str:
        """The objective in full: `effective_ttft_s p95 <= 2`."""
        return f"{self.name} {'<=' if self.at_most is not None else '>='} {self.bound:g}"

    @property
    def name(self) -> str:
        """The objective's name in reports: `effective_ttft_s p95`, `ttft_s p95 expert 32000+`."""
        parts = [f"{self.metric} p{self.quantile * 100:g}"]
        if self.role is not None:
            parts.append(self.role)
        if self.context_from or self.context_below:
            below = "+" if self.context_below is None else f"-{self.context_below}"
            parts.append(f"{self.context_from}{below} tokens")
        if self.of != "requests":
            parts.append(f"of {self.share:.0%} of {self.of}")
        return " ".join(parts)
