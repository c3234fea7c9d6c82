"""Whether a run measured its target and not itself; each reason not to believe it, in words."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from swarm.config.experiment import AuditConfig
from swarm.errors import AuditError
from swarm.measure.latency import Flags, Selection, flags, floats
from swarm.measure.sketch import Sketch
from swarm.measure.totals import RunFacts, RunTotals
from swarm.records.row import UNSENT

TURNS_PER_ENDPOINT = 20
"""With fewer turns than this for each endpoint, one that served none is no finding."""
TEMPLATE_TOKENS = 128
"""Of a chat template around a prompt: the same for all, so that a server's cache may hold them already."""
COUNTERS_SPARE = 0.05
"""A server's counters of prompts may be by so much above what this run sent, and be of this run alone."""
CLASSES_NAMED = 3
"""Classes of failures that are told one by one."""
LATE_SHARE = 0.01
"""Of an emulator's moments of sending, those that may be late beyond the bound: a p99."""
HOSTS_NAMED = 5
"""Findings about hosts that are told one by one."""


def audit_counts(table: pa.Table, totals: RunTotals) -> dict[str, int]:
    """Return how many requests ended how; raise AuditError when they do not add up to those sent."""
    unsent = int(flags(table, "error_class", UNSENT).sum())
    ended = {
        "finished": int(flags(table, "outcome", "ok").sum()),
        "failed": int(flags(table, "outcome", "failed").sum()),
        "interrupted": int(flags(table, "outcome", "interrupted").sum()) - unsent,
        "in_flight": totals.in_flight,
        "unaccounted": totals.unaccounted,
    }
    if totals.sent != sum(ended.values()):
        parts = ", ".join(f"{count} {name}" for name, count in ended.items())
        raise AuditError(f"{totals.sent} requests were sent, but {parts} make {sum(ended.values())}")
    return {"sent": totals.sent, **ended, "unsent": unsent}


def invalid_reasons(
    facts: RunFacts, totals: RunTotals, ended: Selection, send_lag: Sketch | None
) -> list[str]:
    """Return why the run cannot be believed, from the measured rows that ended; none is a valid run."""
    audit = facts.audit
    reasons = list(totals.faults)
    if not facts.is_search:
        reasons += _failures(facts, ended)
    _bound(
        reasons,
        "send lag",
        send_lag,
        audit.send_lag_p99_s,
        "the hosts sent late, so they and not the target may be the limit",
    )
    for check in (_outputs, _endpoints, _excess_hits):
        reasons += check(facts, ended)
    reasons += _excess_of_counters(facts, totals, ended)
    reasons += _hosts(facts.audit, totals)
    reasons += _lateness(facts.audit, totals)
    reasons += _delivery(facts, totals)
    if totals.unaccounted > facts.audit.unaccounted_share * totals.sent:
        reasons.append(
            f"{totals.unaccounted:,} of {totals.sent:,} requests are unaccounted for, more than the "
            f"{facts.audit.unaccounted_share:.1%} allowed: their host was lost"
        )
    return reasons


def _failures(facts: RunFacts, ended: Selection) -> list[str]:
    """Return what failures say against a run; those of a search fail its levels, and never the run."""
    if not flags(ended, "outcome", "ok").any():
        return ["no request of the measured phase finished"]
    reasons = []
    counted = flags(ended, "outcome", "failed")
    if facts.provider is not None and facts.provider.has_limits:
        # The experiment states a plan that refuses: refusals are what it is about.
        counted &= ~flags(ended, "error_class", "http_429")
    share, bound = _share(counted), facts.audit.failed_share
    if share > bound:
        reasons.append(
            f"{share:.1%} of the requests failed ({_by_class(ended, counted)}), more than the {bound:.1%} "
            "allowed: latencies, rates and hits are those of the others alone"
        )
    truncated, bound = _share(flags(ended, "error_class", "truncated")), facts.audit.truncated_share
    if truncated > bound:
        reasons.append(
            f"{truncated:.1%} of the streams ended without a finish, more than the {bound:.1%} allowed"
        )
    return reasons


def _by_class(ended: Selection, counted: Flags) -> str:
    """Return how many requests failed of each class, the most first."""
    classes = Counter(str(name) for name in np.asarray(ended.column("error_class").to_pylist())[counted])
    return ", ".join(f"{count:,} {name}" for name, count in classes.most_common(CLASSES_NAMED))


def _outputs(facts: RunFacts, ended: Selection) -> list[str]:
    if not facts.exact_output:
        return []
    finished = flags(ended, "outcome", "ok")
    differs = floats(ended, "output_tokens") != floats(ended, "planned_output_tokens")
    share, bound = _share(differs[finished]), facts.audit.output_length_share
    if share <= bound:
        return []
    return [
        f"{share:.1%} of the outputs are not as long as asked, more than the {bound:.1%} allowed: the server "
        "does not honour min_tokens and ignore_eos, so its load is not the one planned; "
        "set target.exact_output: false if that is meant"
    ]


def _excess_hits(facts: RunFacts, ended: Selection) -> list[str]:
    """Return whether the server's cache held what this run had not sent.

    Each request may hit its ideal, the rest of a block, a chat template, and by how much the server counts
    otherwise than planned. One that was tried again may hit what its own earlier attempt left.
    """
    known = ended.knowing("cached_tokens")
    known = known.where(flags(ended.whole, "outcome", "ok") & (floats(ended.whole, "attempts") == 1))
    prompt, cached, ideal = (
        floats(known, name) for name in ("prompt_tokens", "cached_tokens", "ideal_tokens")
    )
    if facts.mode != "live" or not prompt.sum():
        return []
    counted_otherwise = np.abs(prompt - floats(known, "planned_prompt_tokens"))
    explained = ideal + facts.block_tokens + TEMPLATE_TOKENS + counted_otherwise
    share = float(np.maximum(0.0, cached - explained).sum() / prompt.sum())
    bound = facts.audit.excess_hits_share
    if share <= bound:
        return []
    return [
        f"the server reports {cached.sum() / prompt.sum():.1%} of the prompt tokens as cached where this "
        f"run's own requests explain {ideal.sum() / prompt.sum():.1%}: its cache was warm from an earlier "
        "run or another client, or it counts wrongly; empty the cache, keep target.cache: fresh, or raise "
        "audit.excess_hits_share if a warm cache is meant"
    ]


def _excess_of_counters(facts: RunFacts, totals: RunTotals, ended: Selection) -> list[str]:
    """Return the same where usage is silent on hits and counters tell them, of the whole run.

    Counters that were asked for much more than this run sent tell of other clients, which a note says.
    """
    counters, whole = totals.counters, ended.whole
    asked = Selection(whole, flags(whole, "outcome", "ok"))
    prompt, ideal = (floats(asked, name) for name in ("prompt_tokens", "ideal_tokens"))
    sent = float(floats(whole, "prompt_tokens").sum())
    if facts.mode != "live" or counters is None or not sent or asked.knowing("cached_tokens").num_rows:
        return []
    if not 0 < counters.query_tokens <= sent * (1.0 + COUNTERS_SPARE) or not prompt.sum():
        return []
    counted_otherwise = np.abs(prompt - floats(asked, "planned_prompt_tokens"))
    explained = (ideal + facts.block_tokens + TEMPLATE_TOKENS + counted_otherwise).sum() + sent - prompt.sum()
    share, bound = (counters.hit_tokens - explained) / counters.query_tokens, facts.audit.excess_hits_share
    if share <= bound:
        return []
    told, own = counters.hit_tokens / counters.query_tokens, ideal.sum() / prompt.sum()
    return [
        f"the server's counters tell of {told:.1%} of the prompt tokens as cached where this run's own "
        f"requests explain {own:.1%}: its cache was warm from an earlier run or another client; empty the "
        "cache, keep target.cache: fresh, or raise "
        "audit.excess_hits_share if a warm cache is meant"
    ]


def _endpoints(facts: RunFacts, ended: Selection) -> list[str]:
    """Name configured endpoints that served nothing, where there were turns enough for each."""
    if len(facts.endpoints) < 2 or ended.num_rows < TURNS_PER_ENDPOINT * len(facts.endpoints):
        return []
    seen = set(ended.column("endpoint").unique().to_pylist())
    idle = [url for url in facts.endpoints if url not in seen]
    return [f"{', '.join(idle)} took no part: no turn of the measured phase went there"] if idle else []


def _hosts(audit: AuditConfig, totals: RunTotals) -> list[str]:
    reasons = []
    for host in totals.hosts:
        name = f"host {host.host}"
        lag_s = host.loop_lag.quantile(0.99)
        if lag_s is not None and lag_s > audit.loop_lag_p99_s:
            reasons.append(
                f"{name}: p99 event-loop lag {lag_s * 1e3:.1f} ms is past its bound of "
                f"{audit.loop_lag_p99_s * 1e3:.1f} ms: it was starved of CPU or overloaded"
            )
        if host.cpu_share is not None and host.cpu_share > audit.cpu_share:
            reasons.append(
                f"{name} used {host.cpu_share:.0%} of a core, more than {audit.cpu_share:.0%}: "
                "give the run more hosts (hosts.count)"
            )
        if host.cpu_wait_share is not None and host.cpu_wait_share > audit.cpu_wait_share:
            reasons.append(
                f"{name} waited {host.cpu_wait_share:.0%} of the time for a core, more than "
                f"{audit.cpu_wait_share:.0%}: others use its machine"
            )
        offset_s = host.clock_offset_s
        if offset_s is not None and abs(offset_s) > audit.clock_offset_s:
            reasons.append(
                f"{name}: its clock is {offset_s * 1e3:+.1f} ms from the driver's, past the bound of "
                f"{audit.clock_offset_s * 1e3:.1f} ms: its times cannot be put beside the others'"
            )
    if len(reasons) > HOSTS_NAMED:
        reasons = [*reasons[:HOSTS_NAMED], f"and {len(reasons) - HOSTS_NAMED} more findings about hosts"]
    return reasons


def _lateness(audit: AuditConfig, totals: RunTotals) -> list[str]:
    """Return which emulated servers did not keep the times that their fleets stated."""
    reasons, bound_s = [], audit.event_lateness_p99_s
    for each in totals.event_lateness:
        share = each.share_over(bound_s)
        if share > LATE_SHARE:
            reasons.append(
                f"server {each.server}: {share:.1%} of the emulator's moments of sending were over "
                f"{bound_s * 1e3:.1f} ms late, more than {LATE_SHARE:.0%}: its machine made the latencies, "
                "and not the emulated fleet; give it a core of its own, or fewer requests"
            )
    return reasons


def _delivery(facts: RunFacts, totals: RunTotals) -> list[str]:
    """Return what a load that fell short says against a run; sessions that ran out are told in a note."""
    audit, asked, live = facts.audit, totals.sessions_asked_mean, totals.sessions_live_mean
    away, reasons = totals.unattended_share, []
    if away is not None and away > 1.0 - audit.delivered_share:
        reasons.append(
            f"nobody ran {away:.0%} of the sessions' time, more than {1.0 - audit.delivered_share:.0%}: "
            "their hosts were lost or stood still"
        )
    if not facts.is_finite and falls_short(facts, totals):
        reasons.append(
            f"{live:.1f} sessions were alive on average where {asked:.1f} were asked for: "
            f"less than {audit.delivered_share:.0%} of the load was delivered"
        )
    return reasons


def falls_short(facts: RunFacts, totals: RunTotals) -> bool:
    """Return whether fewer sessions were alive than were asked for, beyond what is allowed."""
    asked, live = totals.sessions_asked_mean, totals.sessions_live_mean
    return asked is not None and live is not None and live < asked * facts.audit.delivered_share


def _bound(reasons: list[str], what: str, lag: Sketch | None, bound_s: float, meaning: str) -> None:
    value = None if lag is None else lag.quantile(0.99)
    if value is not None and value > bound_s:
        reasons.append(
            f"p99 {what} {value * 1e3:.1f} ms is past its bound of {bound_s * 1e3:.1f} ms: {meaning}"
        )


def _share(flagged: np.ndarray) -> float:
    return float(np.mean(flagged)) if len(flagged) else 0.0
