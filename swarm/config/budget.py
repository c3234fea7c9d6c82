"""What a run may spend."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from swarm.config.prices import PricesConfig
from swarm.config.strict import Strict


class BudgetConfig(Strict):
    """Bounds on what a live run sends and asks for, over all hosts: it ends before one is passed."""

    tokens_max: int | None = Field(
        None,
        ge=1,
        description="tokens of prompts and of the replies asked for, cached ones too; null: no bound",
    )
    cost_max: float | None = Field(
        None, gt=0, description="by the prices, hits as the server reports them; null: no bound"
    )
    prices: PricesConfig | None = Field(None, description="what cost_max is in")

    @model_validator(mode="after")
    def _is_priced(self) -> Self:
        if self.cost_max is not None and self.prices is None:
            raise ValueError("cost_max needs prices")
        return self
