"""`summary.json`: a run in one page of numbers, null where nothing was observed.

Counts of requests cover the whole run, so that they balance. Latencies, tokens, rates and the SLO cover the
measured phase: requests that were due after the warm-up, and finished.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from swarm.config.target import TTLS_S
from swarm.hit_names import LOST_TO, TIERS
from swarm.measure.failures import failure_reasons
from swarm.measure.hits import by_turn, reconcile
from swarm.measure.hosts import hosts_summary
from swarm.measure.latency import LATENCIES, Columns, Floats, Selection, flags, floats, send_lag_s
from swarm.measure.saturation import saturation_summary
from swarm.measure.sketch import Sketch
from swarm.measure.slo import all_met, judge, known_misses, within_all
from swarm.measure.spending import cost_of, rate_limited
from swarm.measure.totals import RunFacts, RunTotals
from swarm.measure.validity import audit_counts, invalid_reasons
from swarm.records.columns import BY_TIER, LOST

SCHEMA_VERSION = 1
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
EXIT_DONE, EXIT_FAILED, EXIT_SLO_MISSED = 0, 1, 99


def summarize(table: pa.Table, *, facts: RunFacts, totals: RunTotals) -> dict[str, Any]:
    """Return the summary of all rows of a run."""
    counts = audit_counts(table, totals)
    measured = Selection(table, flags(table, "measured"))
    finished = measured.where(flags(table, "outcome", "ok"))
    ended = measured.where(~flags(table, "outcome", "interrupted"))
    duration_s = max(0.0, totals.measured_to_s - totals.measured_from_s)
    sketches = {name: sketch_of(latency(finished)) for name, latency in LATENCIES.items()}
    if totals.itl is not None:
        sketches["itl_s"] = totals.itl
    lag = sketch_of(send_lag_s(finished)) if facts.mode == "live" else None
    reasons = invalid_reasons(facts, totals, ended, lag)
    tokens = _tokens(finished)
    failures = _failures(table)
    return {
        "schema": SCHEMA_VERSION,
        "run_id": facts.run_id,
        "experiment": facts.experiment,
        "mode": facts.mode,
        "seed": facts.seed,
        "valid": not reasons,
        "invalid_reasons": reasons,
        "duration_s": duration_s,
        "measured": {"from_s": totals.measured_from_s, "to_s": totals.measured_to_s},
        **_population(totals),
        "requests": {**counts, "attempts": int(floats(table, "attempts").sum())},
        "tokens": tokens,
        **{name: percentiles(sketch) for name, sketch in sketches.items() if name != "itl_s"},
        "itl_s": percentiles(sketches["itl_s"]) if totals.itl is not None else _itl_of_means(finished),
        "admission_wait_s": percentiles(sketch_of(floats(finished, "admission_wait_s"))),
        "send_lag_s": None if lag is None else percentiles(lag),
        "loop_lag_s": None if totals.loop_lag is None else percentiles(totals.loop_lag),
        "hosts": hosts_summary(totals.hosts, totals.absences),
        "open_requests_mean": _open_mean(table, totals),
        "live_agents_mean": totals.live_agents_mean,
        "throughput": {
            "requests_per_s": _rate(finished.num_rows, duration_s),
            "prompt_tokens_per_s": _rate(tokens["prompt"], duration_s),
            "output_tokens_per_s": _rate(tokens["output"], duration_s),
        },
        "cache": _cache(Selection(table, flags(table, "outcome", "ok")), finished, facts, totals),
        "slo": _slo(measured, finished, sketches, facts, totals),
        "hit_rates": reconcile(table, totals),
        "failures": failures,
        "failure_reasons": failure_reasons(failures, totals.examples, exact_output=facts.exact_output),
        "cost": cost_of(
            finished,
            None if facts.provider is None else facts.provider.prices,
            ttl_s=facts.cache_ttl_s,
            block_tokens=facts.block_tokens,
        ),
        "rate_limited": rate_limited(
            measured,
            to_s=totals.measured_to_s,
            agent_s=None if totals.live_agents_mean is None else totals.live_agents_mean * duration_s,
        ),
        "capacity": totals.capacity,
        "saturation": saturation_summary(totals.saturation),
        "fleet": totals.fleet,
    }


def _population(totals: RunTotals) -> dict[str, Any]:
    """Return who was there: the load asked for and delivered, its sessions and agents."""
    return {
        "load": {
            "sessions_asked_mean": totals.sessions_asked_mean,
            "sessions_live_mean": totals.sessions_live_mean,
            "ran_out_s": totals.ran_out_s,
            "unattended_share": totals.unattended_share,
        },
        "sessions": {"started": totals.sessions_started, "finished": totals.sessions_finished},
        "agents": {
            "orchestrators": totals.orchestrators_started,
            "subagents": totals.subagents_started,
            "peak_concurrent": totals.peak_live,
        },
    }


def longest_computed_tokens(table: pa.Table) -> int:
    """Return the most tokens of one prompt that no cache held; 0 where that is not known."""
    computed = floats(table, "prompt_tokens") - floats(table, "cached_tokens")
    known = computed[~np.isnan(computed)]
    return int(known.max()) if known.size else 0


def exit_code(summary: dict[str, Any], signal_number: int | None) -> int:
    """Return the run's exit code: a signal is stronger than 1, and 1 than 99."""
    if signal_number is not None:
        return 128 + signal_number
    if not summary["valid"]:
        return EXIT_FAILED
    return EXIT_SLO_MISSED if summary["slo"]["met"] is False else EXIT_DONE


def sketch_of(values: Floats) -> Sketch:
    """Return the sketch of an array; NaN is no observation."""
    sketch = Sketch()
    sketch.add_many(values)
    return sketch


def percentiles(sketch: Sketch) -> dict[str, float | None]:
    """Return mean, percentiles and max, the first and the last exact, and of how many observations."""
    values = sketch.quantiles(tuple(PERCENTILES.values()))
    return {
        "mean": sketch.mean,
        **dict(zip(PERCENTILES, values, strict=True)),
        "max": sketch.most if sketch.count else None,
        "n": sketch.count,
    }


def _tokens(finished: Selection) -> dict[str, int | None]:
    known = finished.knowing("cached_tokens")
    cached = _sum(known, "cached_tokens")
    return {
        "prompt": _sum(finished, "prompt_tokens"),
        "cached": cached if known.num_rows else None,
        "computed": _sum(known, "prompt_tokens") - cached if known.num_rows else None,
        "output": _sum(finished, "output_tokens"),
        "rewritten": _sum(finished, "rewritten_tokens"),
        **{f"written_{ttl}": _known_sum(finished, f"written_{ttl}_tokens") for ttl in TTLS_S},
    }


def _known_sum(finished: Selection, name: str) -> int | None:
    known = finished.knowing(name)
    return _sum(known, name) if known.num_rows else None


def _cache(everything: Selection, finished: Selection, facts: RunFacts, totals: RunTotals) -> dict[str, Any]:
    known = finished.knowing("cached_tokens")
    hit_rate, source = _share(known, "cached_tokens"), "usage"
    if hit_rate is None:
        # Usage is silent on cached tokens: what the server counted over the whole run is all that is known.
        counters = totals.counters
        has_counted = counters is not None and counters.query_tokens > 0
        hit_rate = counters.hit_tokens / counters.query_tokens if counters and has_counted else None
        source = "counters"
    tiered = finished.knowing(BY_TIER[0])
    explained = finished.knowing(LOST[0])
    present = facts.tiers or ()
    return {
        "hit_rate": hit_rate,
        "hit_rate_from": source if hit_rate is not None else None,
        "ideal_hit_rate": _share(finished, "ideal_tokens"),
        "hit_rate_by_tier": {
            tier: _share(tiered, column) if tier in present else None
            for tier, column in zip(TIERS, BY_TIER, strict=True)
        },
        "reprefill_mean": _reprefill(everything, facts.block_tokens),
        "lost_to": {cause: _share(explained, column) for cause, column in zip(LOST_TO, LOST, strict=True)},
        "lost_tokens": {
            cause: _sum(explained, column) if explained.num_rows else None
            for cause, column in zip(LOST_TO, LOST, strict=True)
        },
        "by_turn": by_turn(finished),
    }


def _reprefill(everything: Selection, block_tokens: int) -> float | None:
    """Return how often a whole block was computed on average, over the whole run: 1 is ideal."""
    known = everything.knowing("cached_tokens")
    whole = floats(known, "prompt_tokens") // block_tokens * block_tokens
    unique = float((whole - floats(known, "ideal_tokens")).sum())
    computed = float((whole - floats(known, "cached_tokens")).sum())
    return computed / unique if unique > 0 else None


def _slo(
    due: Selection, finished: Selection, sketches: dict[str, Sketch], facts: RunFacts, totals: RunTotals
) -> dict[str, Any]:
    if facts.is_search:
        # Levels above the capacity miss on purpose: the run is held to having found one that does not.
        met = None if totals.capacity is None else totals.capacity["agents_low"] > 0
        return {"met": met, "objectives": [], "goodput_ratio": None, "goodput_requests_per_s": None}
    if not facts.objectives:
        return {"met": None, "objectives": [], "goodput_ratio": None, "goodput_requests_per_s": None}
    duration_s = max(0.0, totals.measured_to_s - totals.measured_from_s)
    completions = {"session_s": np.array(totals.session_s), "subagent_s": np.array(totals.subagent_s)}
    unfinished = {
        "session_s": np.array(totals.session_open_s),
        "subagent_s": np.array(totals.subagent_open_s),
    }
    verdicts = judge(facts.objectives, due, sketches, completions, unfinished)
    good = int(within_all(facts.objectives, finished).sum())
    told = ~flags(due, "outcome", "interrupted") | known_misses(facts.objectives, due)
    return {
        "met": all_met(verdicts),
        "objectives": verdicts,
        "goodput_ratio": good / int(told.sum()) if told.any() else None,
        "goodput_requests_per_s": _rate(good, duration_s),
    }


def _itl_of_means(finished: Selection) -> dict[str, float | None]:
    """Return what each request's mean and largest gap tell of all gaps; percentiles are not among it."""
    means, most = floats(finished, "itl_mean_s"), floats(finished, "itl_max_s")
    gaps = np.where(np.isnan(means), 0.0, floats(finished, "output_tokens") - 1)
    total = float(gaps.sum())
    return {
        "mean": float(np.nansum(means * gaps)) / total if total > 0 else None,
        **dict.fromkeys(PERCENTILES),
        "max": float(np.nanmax(most)) if not np.isnan(most).all() else None,
        "n": int(total),
    }


def _open_mean(table: pa.Table, totals: RunTotals) -> float | None:
    """Return the mean count of sent and unfinished requests over the measured phase."""
    duration_s = totals.measured_to_s - totals.measured_from_s
    if duration_s <= 0:
        return None
    begins = np.maximum(floats(table, "sent_s"), totals.measured_from_s)
    ends = np.minimum(floats(table, "completed_s"), totals.measured_to_s)
    return float(np.nansum(np.maximum(0.0, ends - begins))) / duration_s


def _failures(table: pa.Table) -> dict[str, int]:
    failed = Selection(table, flags(table, "outcome", "failed"))
    counts = failed.column("error_class").value_counts().to_pylist()
    return {
        str(each["values"]): each["counts"] for each in sorted(counts, key=lambda each: str(each["values"]))
    }


def _sum(table: Columns, name: str) -> int:
    return int(pc.sum(table.column(name)).as_py() or 0)


def _share(table: Columns, name: str) -> float | None:
    """Return a column's sum as a share of the prompt tokens, or None where there are none."""
    prompt = _sum(table, "prompt_tokens")
    return _sum(table, name) / prompt if prompt else None


def _rate(count: int | None, duration_s: float) -> float | None:
    return count / duration_s if count is not None and duration_s > 0 else None
