"""How much load, when."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from swarm.config.budget import BudgetConfig
from swarm.config.strict import Strict

AGENTS_MAX = 1_000_000


class RampShape(Strict):
    """All sessions, started evenly over a time."""

    kind: Literal["ramp"] = "ramp"
    over_s: float = Field(ge=0, description="from the first start to the last")


class StepsShape(Strict):
    """Sessions added in equal steps, up to `load.agents`."""

    kind: Literal["steps"] = "steps"
    step: int = Field(ge=1, le=AGENTS_MAX, description="sessions added at each")
    every_s: float = Field(gt=0, description="time between two steps")


class ScheduleShape(Strict):
    """Sessions alive by time, up and down: (seconds, sessions), each up to the next."""

    kind: Literal["schedule"] = "schedule"
    points: tuple[tuple[float, int], ...] = Field(
        min_length=1, max_length=10_000, description="[seconds, sessions alive], times rising"
    )
    between: Literal["constant", "linear"] = Field(
        "constant", description="sessions between two points: as at the first, or on a line to the second"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        times = [at_s for at_s, _ in self.points]
        if times != sorted(set(times)) or times[0] < 0:
            raise ValueError("the points' times must rise, from 0 or later")
        if any(not 0 <= agents <= AGENTS_MAX for _, agents in self.points):
            raise ValueError(f"a point's sessions must be 0..{AGENTS_MAX}")
        if not any(agents for _, agents in self.points):
            raise ValueError("no point has a session")
        return self


class ArrivalsShape(Strict):
    """Sessions that arrive by chance, whoever is there; none is replaced, and `load.agents` is no bound."""

    kind: Literal["arrivals"] = "arrivals"
    per_s: float = Field(gt=0, description="mean sessions per second, over bursts and the time between them")
    burst: int = Field(1, ge=1, description="sessions that arrive at one time; 1: a Poisson process")


class RecordedShape(Strict):
    """Sessions that arrive when they were recorded to, from the first one on; `load.agents` is no bound."""

    kind: Literal["recorded"] = "recorded"


Shape = Annotated[
    RampShape | StepsShape | ScheduleShape | ArrivalsShape | RecordedShape, Field(discriminator="kind")
]


class SearchConfig(Strict):
    """The most concurrent agents within the SLO: doubling, then bisection."""

    agents_from: int = Field(1, ge=1, le=AGENTS_MAX, description="first level")
    agents_max: int = Field(1024, ge=1, le=AGENTS_MAX, description="highest level tried")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of each level's verdict")
    resolution: float = Field(
        0.0, ge=0, lt=1, description="stop where the interval is no wider than this share; 0: at one agent"
    )
    growth: float = Field(2.0, gt=1, le=8, description="from one level to the next, until one fails")
    answer: Literal["levels", "curve"] = Field(
        "levels",
        description="levels: a verdict on each; curve: of all looks together, for all of load.duration_s",
    )
    ramp_per_agent_s: float | None = Field(
        None, ge=0, description="between the agents that a level adds; null: all of them over load.ramp_s"
    )
    hold_min_s: float = Field(
        60.0, gt=0, description="first look at a level; later looks after 2, 4, 8 x this"
    )
    hold_max_s: float = Field(960.0, gt=0, description="a level not decided by then is reported undecided")
    ttls_held: float = Field(1.0, ge=0, description="a level is held at least this many of the longest TTL")
    requests_min: int = Field(30, ge=10, description="requests that a look needs")
    stationary_within: float = Field(
        0.02, gt=0, description="most that hit rate or occupancy may move between a look's halves"
    )
    confirmations: int = Field(
        2, ge=1, le=5, description="passes in a row that a level needs after one above it has failed"
    )
    cache: Literal["warm", "cold"] = Field(
        "warm", description="caches at a level's start: as the level before left them, or empty"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.agents_from > self.agents_max:
            raise ValueError("agents_from is above agents_max")
        if self.hold_max_s < self.hold_min_s:
            raise ValueError("hold_max_s is below hold_min_s")
        return self


class AdmissionConfig(Strict):
    """What the swarm holds back by itself; the waiting counts in the effective TTFT."""

    max_in_flight: int | None = Field(None, ge=1, description="requests sent and not ended")
    max_in_prefill: int | None = Field(None, ge=1, description="requests sent and without a first token")
    input_tokens_per_minute: float | None = Field(None, gt=0, description="as planned")
    output_tokens_per_minute: float | None = Field(None, gt=0, description="as planned")
    backoff_first_s: float = Field(
        0.0, ge=0, description="an agent whose request failed waits so long before its next; 0: not at all"
    )
    backoff_max_s: float = Field(60.0, gt=0, description="doubles with each failure in a row up to this")


class LoadConfig(Strict):
    """Sessions over time, each replaced by a new one when it ends."""

    agents: int = Field(10, ge=1, le=AGENTS_MAX, description="orchestrators (sessions) alive at once")
    shape: Shape | None = Field(None, description="null: a ramp over ramp_s")
    search: SearchConfig | None = Field(None, description="find the most agents within the SLO instead")
    admission: AdmissionConfig | None = Field(None, description="client-side limits; null: none")
    budget: BudgetConfig | None = Field(None, description="what a live run may spend; null: no bound")
    sessions_max: int | None = Field(
        None, ge=1, description="stop starting sessions after this many; null: no limit"
    )
    replace: bool = Field(True, description="start a new session when one ends, until the duration is over")
    ramp_s: float = Field(5.0, ge=0, description="sessions start evenly over this time")
    duration_s: float | None = Field(
        60.0, gt=0, description="end of the run; null: when all sessions have ended; a bound of a search"
    )
    warmup_s: float = Field(0.0, ge=0, description="requests due before this are not measured")
    drain_s: float = Field(10.0, ge=0, description="how long requests in flight may finish after the end")

    @model_validator(mode="before")
    @classmethod
    def _endless_search(cls, data: Any) -> Any:
        """A search ends by itself: it has no default duration."""
        if isinstance(data, dict) and data.get("search") is not None:
            return {"duration_s": None, **data}
        return data

    @model_validator(mode="after")
    def _curve_ends(self) -> Self:
        if self.search is not None and self.search.answer == "curve" and self.duration_s is None:
            raise ValueError(
                "load.search.answer curve goes on as long as it is given: set load.duration_s, such as 600"
            )
        return self

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        if self.search is not None and self.shape is not None:
            raise ValueError("load.search sets the number of agents itself: remove load.shape")
        if isinstance(self.shape, ArrivalsShape) and self.duration_s is None:
            raise ValueError("load.shape arrivals never end by themselves: set load.duration_s")
        return self

    @model_validator(mode="after")
    def _measures(self) -> Self:
        if self.duration_s is not None and self.warmup_s >= self.duration_s:
            raise ValueError(
                f"warmup_s: {self.warmup_s:g} is not shorter than duration_s: {self.duration_s:g}: no "
                "request would be measured; shorten the warm-up, or lengthen the run"
            )
        return self
