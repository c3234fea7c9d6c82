"""What a run knows beside its rows: who it was, and the counts that rows alone cannot give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from swarm.config.experiment import AuditConfig, Experiment
from swarm.config.fleet import FleetConfig
from swarm.config.provider import ProviderConfig
from swarm.config.slo import ObjectiveConfig
from swarm.measure.attendance import Absence
from swarm.measure.delivery import Herd
from swarm.measure.hosts import HostLoad
from swarm.measure.saturation import EventLateness, Resource
from swarm.measure.sketch import Sketch
from swarm.records.batch import FailureExample

Mode = Literal["live", "simulate"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What was asked for."""

    run_id: str
    experiment: str
    mode: Mode
    seed: int
    block_tokens: int
    tiers: tuple[str, ...] | None
    """Memory tiers of the target; None where it is foreign."""
    objectives: tuple[ObjectiveConfig, ...]
    audit: AuditConfig
    endpoints: tuple[str, ...]
    """Servers that the run was to use; none in virtual time."""
    provider: ProviderConfig | None
    """Prices, where the target's are known."""
    cache_ttl_s: float | None
    """For how long kept tokens are billed."""
    exact_output: bool
    """Whether the target was asked for outputs of exact length."""
    is_finite: bool = False
    """Whether sessions may run out before the load ends."""
    is_search: bool = False
    """Whether the run looks for its load: levels that fail are part of it."""


def facts_of(experiment: Experiment, *, run_id: str, mode: Mode, is_emulated: bool) -> RunFacts:
    """Return the facts of an experiment; `is_emulated` says that its own fleet was the target."""
    return RunFacts(
        run_id=run_id,
        experiment=experiment.name,
        mode=mode,
        seed=experiment.seed,
        block_tokens=experiment.ideal_block_tokens,
        tiers=tuple(tier.name for tier in experiment.fleet.tiers) if is_emulated else None,
        objectives=experiment.slo,
        audit=experiment.audit,
        endpoints=experiment.target.urls if mode == "live" else (),
        provider=experiment.fleet.provider,
        cache_ttl_s=billed_ttl_s(experiment.fleet),
        exact_output=experiment.target.exact_output,
        is_finite=experiment.is_finite,
        is_search=experiment.load.search is not None,
    )


def billed_ttl_s(fleet: FleetConfig) -> float | None:
    """Return the TTL that cache writes are billed for; None where nothing is ever let go of for its age."""
    if fleet.provider is not None and fleet.provider.cache_ttl_s is not None:
        return fleet.provider.cache_ttl_s
    ttls_s = [tier.ttl_s for tier in fleet.tiers]
    return max((ttl_s for ttl_s in ttls_s if ttl_s is not None), default=None) if None not in ttls_s else None


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """What a target's own counters say, in tokens, over all its servers."""

    family: str
    """Whose names they are: vllm, sglang."""
    servers: int
    hit_tokens: int
    query_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class RunTotals:
    """What happened, beyond the rows."""

    measured_from_s: float
    """End of the warm-up."""
    measured_to_s: float
    """End of the load, before the drain: from then on nothing new was started. The last due turn, where no
    session was left before."""
    sessions_started: int
    sessions_finished: int
    orchestrators_started: int
    subagents_started: int
    peak_live: int
    live_agents_mean: float | None
    """Over the measured phase; None where it is not known."""
    sent: int
    in_flight: int
    unaccounted: int
    itl: Sketch | None
    """Every gap between deltas of the measured phase; None where only each request's mean is known."""
    loop_lag: Sketch | None
    """How late the hosts' event loops woke up; None in virtual time."""
    hosts: tuple[HostLoad, ...]
    """How each host fared; none in virtual time."""
    sessions_asked_mean: float | None
    """Sessions that were to be alive over the measured phase; None where the load does not say."""
    sessions_live_mean: float | None
    """Over the phase as it was asked for, also where no session was left for a part of it."""
    counters: ServerCounters | None
    """What the target's own counters say of the whole run; None where it does not publish any known."""
    capacity: dict[str, Any] | None
    """The answer of a search for the most agents within the SLO."""
    faults: tuple[str, ...]
    """More reasons why the run is invalid, in words."""
    session_s: tuple[float, ...] = ()
    """How long sessions took that ended in the measured phase, from their start."""
    subagent_s: tuple[float, ...] = ()
    session_open_s: tuple[float, ...] = ()
    """How long sessions had taken that had not ended when the load did."""
    subagent_open_s: tuple[float, ...] = ()
    fleet: dict[str, Any] | None = None
    """What the emulated fleet counted over the whole run: preemptions, and blocks and bytes by tier."""
    examples: tuple[FailureExample, ...] = ()
    """The first few failed requests of each class, in the words that they failed with."""
    doubts: tuple[tuple[str, int], ...] = ()
    """Why counts of the server were treated as unknown, and in how many requests."""
    absences: tuple[Absence, ...] = ()
    """Times in which nobody ran the agents of a host."""
    unattended_share: float | None = None
    """Of the time that sessions were to be run in the measured phase, the part in which nobody ran them."""
    ran_out_s: float | None = None
    """When the last session had ended, where that was before the load's end."""
    herd: Herd | None = None
    """Sessions of the start that the warm-up did not wait for."""
    remarks: tuple[str, ...] = ()
    """What else a reader must know of the run, in words."""
    refusals: tuple[tuple[str, int], ...] = ()
    """Why the emulated fleet refused requests, in its words, and how many; the first few reasons."""
    warnings: tuple[str, ...] = ()
    """Where nodes were expected not to carry what was placed on them, in words."""
    saturation: tuple[Resource, ...] = ()
    """How busy what requests need was over the measured phase."""
    event_lateness: tuple[EventLateness, ...] = ()
    """How late emulated servers sent their events in the measured phase."""
