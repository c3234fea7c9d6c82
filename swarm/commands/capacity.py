"""`swarm capacity`: from a URL, or a fleet, to how many agents it carries within an SLO."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from swarm.commands.costs import Budget, check_budget, expected, told_cost
from swarm.commands.workloads import chosen_workload
from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig, SimpleCostConfig
from swarm.config.load import LoadConfig
from swarm.config.read import validate
from swarm.config.slo import ObjectiveConfig
from swarm.config.target import TargetConfig
from swarm.errors import RunError, UsageError
from swarm.interrupts import Interrupts
from swarm.live.look import LEARNED, Looked, look_at
from swarm.live.targets.usable import check_target
from swarm.load.search_words import found
from swarm.load.sizing import Demand, Known, Size, search_config, sized
from swarm.report.numbers import count, seconds
from swarm.sim.demand import demand_of
from swarm.sim.look import known_of
from swarm.workload.source import load_scripts

SLO_DEFAULT = ("effective_ttft_s p95 <= 2", "tpot_s p95 <= 0.1")
"""What a person at a coding agent takes for quick: two seconds to the first word, ten tokens a second."""
CONFIDENCE = 0.9
DRAIN_S = 10.0
EXPERIMENT = "experiment.yaml"
STEP_RATES = (
    "prefill_per_context_token_s",
    "prefill_chunk_s",
    "prefill_chunk_per_token_s",
    "prefill_alone_s",
    "decode_base_s",
    "decode_per_sequence_s",
    "decode_per_context_token_s",
)
"""Of a cost of stated rates, in seconds."""
_OBJECTIVE = re.compile(r"\s*([a-z_0-9]+)\s+p(\d+(?:\.\d+)?)\s*(<=|>=)\s*(\d+(?:\.\d+)?)\s*(ms|s)?\s*")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for on the command line."""

    slo: tuple[ObjectiveConfig, ...]
    workload: str | None
    minutes: float
    agents_max: int
    seed: int
    budget: Budget

    @property
    def time_s(self) -> float:
        """How long the search takes."""
        return 60.0 * self.minutes


def objective_of(text: str) -> ObjectiveConfig:
    """Return the objective that a text such as `effective_ttft_s p95 <= 2` states."""
    match = _OBJECTIVE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--slo {text!r}: METRIC pQUANTILE <= SECONDS is expected, as in 'effective_ttft_s p95 <= 2'"
        )
    metric, quantile, sign, bound, unit = match.groups()
    value = float(bound) / (1000.0 if unit == "ms" else 1.0)
    member = "at_most" if sign == "<=" else "at_least"
    data = {"metric": metric, "quantile": float(quantile) / 100, member: value}
    return validate(ObjectiveConfig, data, f"--slo {text!r}")


def capacity_of_server(
    target: TargetConfig, question: Question, out: str | None, *, shows_page: bool = False
) -> int:
    """Look at a server, find its capacity live, and return the exit code."""
    from swarm.commands.run import run_live  # brings Ray

    check_target(target)
    check_budget(target, question.budget, "capacity")
    nonce = f"look-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    with Interrupts() as interrupts:
        looked = look_at(target, nonce=nonce, heed=interrupts.heed, note=_say)
    for line in words_of(looked):
        _say(line)
    experiment, size, demand = experiment_for(question, looked.known, looked.tried.target, FleetConfig())
    _check_alone(looked.known, demand, question.slo)
    if looked.facts.block_tokens is not None:
        experiment = experiment.model_copy(update={"block_tokens": looked.facts.block_tokens})
    _tell_plan(question, size, demand)
    target = target.model_copy(update={name: getattr(looked.tried.target, name) for name in LEARNED})
    beside = {EXPERIMENT: text_of(experiment, target)}
    code = run_live(experiment, out, known=looked.tried, beside=beside, shows_page=shows_page)
    _what_if(target.urls[0])
    return code


def capacity_of_fleet(
    fleet: FleetConfig, question: Question, out: Path | None, *, shows_page: bool = False
) -> int:
    """Find the capacity of an emulated fleet in virtual time, and return the exit code."""
    from swarm.commands.simulate import run_simulated

    known = known_of(fleet)
    for line in _known_words(known):
        _say(line)
    experiment, size, demand = experiment_for(question, known, TargetConfig(), fleet)
    _check_alone(known, demand, question.slo)
    _tell_plan(question, size, demand)
    beside = {EXPERIMENT: text_of(experiment, None)}
    code = run_simulated(experiment, out, beside=beside, shows_page=shows_page)
    if code == 0:
        for line in longer_told(experiment):
            _say(line)
    return code


def longer_told(experiment: Experiment) -> list[str]:
    """Return what a search finds where steps take as long as on the load that calibration held out."""
    from swarm.measure.summary import summarize
    from swarm.sim.run import simulated

    cost = experiment.fleet.cost
    if not isinstance(cost, SimpleCostConfig) or not cost.steps_longer:
        return []
    factor = 1.0 + cost.steps_longer
    slower = cost.model_copy(
        update={
            "prefill_tokens_per_s": cost.prefill_tokens_per_s / factor,
            **{name: getattr(cost, name) * factor for name in STEP_RATES},
        }
    )
    fleet = experiment.fleet.model_copy(update={"cost": slower})
    run = simulated(experiment.model_copy(update={"fleet": fleet}))
    summary = summarize(run.results.rows, facts=run.facts, totals=run.results.totals)
    how = f"{abs(cost.steps_longer):.0%} {'longer' if factor > 1 else 'less'}"
    return [
        f"if steps take {how}, as on the load that its calibration held out: {found(summary['capacity'])}"
    ]


def experiment_for(
    question: Question, known: Known, target: TargetConfig, fleet: FleetConfig
) -> tuple[Experiment, Size, Demand]:
    """Return the experiment that answers the question, sized for what is known of the server."""
    workload = chosen_workload(question.workload, known.context_tokens, agents_max=question.agents_max)
    plain = Experiment(
        name="capacity",
        description="The most agents within the SLO, written by swarm capacity.",
        seed=question.seed,
        workload=workload,
        target=target,
        fleet=fleet,
        slo=question.slo,
    )
    material = load_scripts(workload, question.seed, question.agents_max)
    demand = demand_of(plain, known, material)
    if demand.requests_per_s == 0:
        raise UsageError(f"--workload {question.workload}: its sessions send nothing within ten minutes")
    size = sized(known, demand, time_s=question.time_s, agents_max=question.agents_max)
    load = LoadConfig(
        search=search_config(size, agents_max=question.agents_max, confidence=CONFIDENCE),
        duration_s=question.time_s,
        drain_s=DRAIN_S,
        budget=question.budget.config,
    )
    return plain.model_copy(update={"load": load}), size, demand


def words_of(looked: Looked) -> list[str]:
    """Return what was learned of a server, in words."""
    facts, reply, target = looked.facts, looked.reply, looked.tried.target
    what = facts.dialect or "a server that does not say what it is"
    version = f" {facts.version}" if facts.version else ""
    lines = [f"{target.urls[0]}: {what}{version}, model {target.model}"]
    lines += _known_words(looked.known)
    lines.append(
        f"blocks of {facts.block_tokens} tokens" if facts.block_tokens else "its block size is not told"
    )
    lines[-1] += "; counters at /metrics" if facts.has_metrics else "; no counters at /metrics"
    can = [
        ("answers in a stream", reply.streams),
        ("tells the tokens of prompts", reply.usage),
        ("tells cached tokens", reply.cached_usage),
        ("gives replies of the length asked for", reply.exact_output),
    ]
    lines.append("; ".join(f"{what}: {_yes(is_so)}" for what, is_so in can))
    if reply.error is not None:
        lines.append(f"a prompt sent twice was refused: {reply.error}")
    return lines


def _known_words(known: Known) -> list[str]:
    context = "not told" if known.context_tokens is None else f"{known.context_tokens:,} tokens"
    pool = "not told" if known.pool_tokens is None else f"{known.pool_tokens:,} tokens"
    engines = "" if known.engines == 1 else f" in {known.engines} engines"
    lines = [f"context {context}; KV memory {pool}{engines}"]
    for tokens, took_s in known.cold:
        lines.append(
            f"one request alone: {tokens:,} new tokens, first token after {seconds(took_s)} "
            f"({count(tokens / max(took_s, 1e-9))} tokens/s)"
        )
    if known.tpot_s is not None:
        lines[-1] += f"; then a token every {seconds(known.tpot_s)}"
    return lines


def _yes(is_so: bool | None) -> str:
    return "not seen" if is_so is None else "yes" if is_so else "no"


def _check_alone(known: Known, demand: Demand, slo: tuple[ObjectiveConfig, ...]) -> None:
    """Refuse an SLO that requests miss where each has the server to itself: no level could hold it."""
    for objective in slo:
        if objective.at_most is None:
            continue
        alone, tokens = None, ""
        if objective.metric in ("ttft_s", "effective_ttft_s") and known.cold:
            new_tokens = demand.new_tokens_at(objective.quantile)
            alone, tokens = known.cold_s(new_tokens), f", with {new_tokens:,.0f} new tokens"
        elif objective.metric in ("tpot_s", "itl_s"):
            alone = known.tpot_s
        if alone is not None and alone > objective.at_most:
            told = f"{objective.metric} p{objective.quantile * 100:g}"
            raise RunError(
                f"the {told} of requests that have the server to themselves is about {alone:.3g} s{tokens}: "
                f"more than the SLO's {objective.at_most:g} s, so no number of agents can hold it; state one "
                f"that it can: --slo '{told} <= {2 * alone:.2g}'"
            )


def _tell_plan(question: Question, size: Size, demand: Demand) -> None:
    slo = " and ".join(each.told for each in question.slo)
    what = question.workload or "coding agents whose contexts fit it"
    _say(f"drives {what}, and asks how many it carries within {slo}")
    _say(
        f"starts at {size.agents_from} agents ({size.why}), one more every {size.ramp_per_agent_s:.2g} s, "
        f"looks of {size.hold_s:.0f} s, {question.minutes:g} minutes in all"
    )
    for line in told_cost(expected(demand, size, question.time_s), question.budget):
        _say(line)


def _what_if(url: str) -> None:
    _say(
        f"what if it had more memory, another TTL, another router: swarm calibrate --target {url} --out "
        "fleet.yaml, then swarm capacity --fleet fleet.yaml"
    )


def text_of(experiment: Experiment, asked: TargetConfig | None) -> str:
    """Return the experiment as a file to keep and change: what differs from defaults, and how to run it."""
    data: dict[str, Any] = experiment.model_dump(mode="json", exclude_defaults=True)
    data = {"name": experiment.name, **data}
    data["workload"] = {"kind": experiment.workload.kind, **data["workload"]}
    if asked is None:
        data["fleet"] = experiment.fleet.model_dump(mode="json", exclude_none=True)
        command = f"swarm simulate {EXPERIMENT}"
    else:
        # What was measured of the server is measured again.
        data["target"] = asked.model_dump(mode="json", exclude_defaults=True)
        command = f"swarm run {EXPERIMENT}"
    head = f"# The search that swarm capacity ran, to keep and change:\n#   {command}\n"
    return head + yaml.safe_dump(data, sort_keys=False, width=100)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
