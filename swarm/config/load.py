"""How much load, when."""

from pydantic import Field

from swarm.config.strict import Strict


class LoadConfig(Strict):
    """A static number of sessions, each replaced by a new one when it ends."""

    agents: int = Field(10, ge=1, le=1_000_000, description="orchestrators (sessions) alive at once")
    sessions_max: int | None = Field(
        None, ge=1, description="stop starting sessions after this many; null: no limit"
    )
    replace: bool = Field(True, description="start a new session when one ends, until the duration is over")
    ramp_s: float = Field(5.0, ge=0, description="sessions start evenly over this time")
    duration_s: float | None = Field(
        60.0, gt=0, description="end of the run; null: when all sessions have ended"
    )
    warmup_s: float = Field(0.0, ge=0, description="requests due before this are not measured")
    drain_s: float = Field(10.0, ge=0, description="how long requests in flight may finish after the end")
