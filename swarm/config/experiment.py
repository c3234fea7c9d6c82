"""One experiment: what a run does, in one frozen model."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from swarm.config.abort import AbortConfig
from swarm.config.cache_model import CacheModelConfig
from swarm.config.fleet import FleetConfig
from swarm.config.load import LoadConfig, RecordedShape
from swarm.config.slo import COMPLETIONS, ObjectiveConfig
from swarm.config.strict import Strict
from swarm.config.sweep import SweepConfig
from swarm.config.target import TargetConfig
from swarm.config.workload import ReplayConfig, Workload


class HostsConfig(Strict):
    """The Ray actors that run agents."""

    count: int | None = Field(None, ge=1, description="null: from the cluster's size")
    agents_per_host: int | None = Field(None, ge=1, description="1: every agent in an actor of its own")
    cpus_per_host: float = Field(0.0, ge=0, description="CPUs that Ray reserves for each; 0: none")
    subagents: Literal["with_parent", "spread"] = Field(
        "with_parent", description="spread: each in an actor of its own, on any node"
    )
    start: Literal["together", "in_turn"] = Field(
        "together",
        description="in_turn: a host is started when a ramp needs it, on nodes that have joined by then",
    )
    report_every_s: float = Field(1.0, gt=0, description="between a host's reports to the coordinator")
    silent_max_s: float = Field(
        30.0, gt=0, description="a host that reports nothing for this long is ended and replaced"
    )
    network_gbit_per_s: float | None = Field(
        None, gt=0, description="what a node's network carries either way; null: not said"
    )
    provider_fronts: int = Field(
        1, ge=1, le=1024, description="processes that the emulated fleet is cut into, over the nodes"
    )


class AuditConfig(Strict):
    """Bounds on the run's own faults; past one the run is invalid."""

    send_lag_p99_s: float = Field(0.05, gt=0, description="first byte sent after it was due")
    loop_lag_p99_s: float = Field(0.05, gt=0, description="how late a host's event loop wakes")
    event_lateness_p99_s: float = Field(
        0.05, gt=0, description="how late an emulated server sends its events, by its own histogram"
    )
    unaccounted_share: float = Field(
        0.01, ge=0, le=1, description="requests sent from lost hosts, of which nothing is known"
    )
    failed_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="requests that failed; not 429s under fleet.provider's limits, and not those of a search",
    )
    truncated_share: float = Field(0.01, ge=0, le=1, description="streams that ended without a finish")
    output_length_share: float = Field(
        0.01, ge=0, le=1, description="finished requests whose output is not as long as asked (exact_output)"
    )
    excess_hits_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="prompt tokens reported as cached beyond what this run's own requests explain",
    )
    delivered_share: float = Field(0.95, ge=0, le=1, description="least share of the asked sessions alive")
    cpu_share: float = Field(0.95, gt=0, description="of one core, by a host over the run")
    cpu_wait_share: float = Field(0.3, gt=0, le=1, description="of the run that a host waited for a core")
    clock_offset_s: float = Field(0.1, gt=0, description="between a host's wall clock and the driver's")


class Experiment(Strict):
    """Everything a run is made from."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="names the run and its default folder",
    )
    description: str = Field("", description="what the experiment asks; shown in its report")
    seed: int = Field(1, ge=0, le=2**63 - 1, description="the plan of every session follows from it")
    workload: Annotated[Workload, Field(discriminator="kind")]
    load: LoadConfig = LoadConfig()
    target: TargetConfig = TargetConfig()
    fleet: FleetConfig = FleetConfig()
    hosts: HostsConfig = HostsConfig()
    slo: tuple[ObjectiveConfig, ...] = ()
    sweep: SweepConfig | None = None
    audit: AuditConfig = AuditConfig()
    abort: AbortConfig = AbortConfig()
    block_tokens: int | None = Field(
        None,
        ge=1,
        description="block size of the target's prefix cache; null: what the server tells, else the fleet's",
    )
    cache_model: CacheModelConfig | None = Field(None, description="of live runs only")
    window_s: float = Field(1.0, ge=0.001, description="length of one row of windows.parquet")
    charts: tuple[Literal["png", "svg"], ...] = Field(
        ("png", "svg"), description="image formats of the charts beside the report"
    )

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        if self.load.search is None:
            return self
        if not self.slo:
            raise ValueError("load.search looks for the most agents within the SLO: add objectives under slo")
        for objective in self.slo:
            if objective.metric in COMPLETIONS:
                raise ValueError(f"load.search judges requests: it cannot hold {objective.metric}")
        return self

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        spreads = self.hosts.subagents == "spread" or self.hosts.agents_per_host == 1
        if self.load.budget is not None and spreads:
            raise ValueError(
                "load.budget is shared out to hosts: it cannot bound sub-agents in actors of their own: set "
                "hosts.subagents: with_parent, and hosts.agents_per_host above 1"
            )
        return self

    @model_validator(mode="after")
    def _arrives_as_recorded(self) -> Self:
        if not isinstance(self.load.shape, RecordedShape):
            return self
        workload = self.workload
        if not isinstance(workload, ReplayConfig):
            raise ValueError(
                f"load.shape recorded: a {workload.kind} workload has no recorded arrivals: use kind arrivals"
            )
        if workload.repeat:
            raise ValueError("load.shape recorded: each session arrives once: remove workload.repeat")
        if workload.start != "beginning":
            raise ValueError(
                f"load.shape recorded: workload.start: {workload.start} is another start: remove it"
            )
        return self

    @model_validator(mode="after")
    def _ends(self) -> Self:
        load, workload = self.load, self.workload
        ends = load.duration_s is not None or load.search is not None or load.shape is not None
        ends = ends or not load.replace or load.sessions_max is not None
        if not ends and not (isinstance(workload, ReplayConfig) and not workload.repeat):
            raise ValueError(
                f"load.duration_s: null, but a {workload.kind} workload never runs out of sessions: set "
                "load.duration_s or load.sessions_max, or load.replace: false"
            )
        return self

    @property
    def is_finite(self) -> bool:
        """Whether sessions may run out before the load ends."""
        load, workload = self.load, self.workload
        is_recorded = isinstance(workload, ReplayConfig) and not workload.repeat
        return load.search is None and (is_recorded or not load.replace or load.sessions_max is not None)

    @property
    def ideal_block_tokens(self) -> int:
        """The block size that ideal hits are counted with."""
        return self.block_tokens or self.fleet.block_tokens
