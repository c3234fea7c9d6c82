"""When a run is given up."""

from __future__ import annotations

from pydantic import Field

from swarm.config.strict import Strict


class AbortConfig(Strict):
    """A live load that fails is stopped; searches are not: a level that fails is an answer."""

    failed_share: float | None = Field(
        0.5, gt=0, lt=1, description="of the requests that ended in the last over_s seconds; null: never"
    )
    over_s: float = Field(60.0, gt=0, description="of which failures are looked at")
    requests_min: int = Field(50, ge=1, description="that must have ended in that time")
