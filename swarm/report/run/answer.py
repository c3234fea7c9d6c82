"""What a run says, in a few sentences: its verdict, the SLO, the load, what cost hits, what failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from swarm.report.numbers import count, rate, seconds, share
from swarm.report.run.capacity import advice, sentence
from swarm.report.run.figures import FEW, amount, bound, objective_value

Summary = Mapping[str, Any]
Tone = Literal["good", "bad", "plain"]
LOSS_TOLD = 0.001
"""A cause that lost a smaller share of the prompt tokens is not worth a sentence."""
CAUSES = {
    "block_rounding": "ends of prompts that fill no whole block",
    "in_flight": "prompts whose prefix another request was still computing",
    "ttl": "blocks whose TTL had run out",
    "capacity": "blocks that full tiers had evicted",
    "routing": "blocks that another replica held",
    "dropped_write": "blocks whose write to a lower tier was dropped",
    "chosen_recompute": "blocks that were quicker to compute again than to load",
    "unexplained": "hits that nothing known explains",
}


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence, and whether it is good news."""

    text: str
    tone: Tone = "plain"


def answer(summary: Summary) -> list[Sentence]:
    """Return what a run says, the most important first."""
    said = [_use(summary), *_capacity(summary.get("capacity")), *_objectives(summary["slo"])]
    said += [*_load(summary), *_bound(summary), *_cache(summary), *_failed(summary)]
    return said


def _use(summary: Summary) -> Sentence:
    if not summary["valid"]:
        return Sentence(f"Invalid: do not use these numbers. {summary['invalid_reasons'][0]}", "bad")
    notes = len(summary.get("notes", ()))
    told = f", with {notes} note{'s' if notes > 1 else ''} to read" if notes else ""
    return Sentence(f"Valid: the run measured what it was to measure{told}.", "good")


def agents_found(capacity: Summary) -> str:
    """Return how many agents a search found within the SLO: `67 to 76`, `at least 64`, `fewer than 4`."""
    low, high = capacity.get("agents_low"), capacity.get("agents_high")
    if low is None or (low == 0 and high is not None):
        return f"fewer than {count(high)}" if high is not None else "an unknown number of"
    if high is None:
        return f"at least {count(low)}"
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def _capacity(capacity: Summary | None) -> list[Sentence]:
    if not capacity:
        return []
    low = capacity.get("agents_low")
    if capacity.get("within"):
        said = [Sentence(sentence(capacity), "good" if low else "bad")]
        more = advice(capacity)
        return said if more is None else [*said, Sentence(f"{more[0].upper()}{more[1:]}.", "plain")]
    text = f"It carries {agents_found(capacity)} agents within the SLO"
    if capacity.get("bound_by"):
        text += f", bound by {capacity['bound_by'].replace('_', ' ')}"
    if capacity.get("limiting_objective"):
        text += f"; {capacity['limiting_objective']} is missed first"
    if not capacity.get("is_complete", True):
        text += "; the search was cut short"
    return [Sentence(f"{text}.", "good" if low else "bad")]


def _objectives(slo: Summary) -> list[Sentence]:
    every = sorted(slo["objectives"], key=lambda each: (each["met"] is not False, each["met"] is not None))
    return [_objective(each) for each in every]


def _objective(each: Summary) -> Sentence:
    wanted = f"{'at least' if each.get('is_floor') else 'at most'} {amount(each, each['target'])}"
    verdict = "met" if each["met"] else "missed"
    if each["met"] is None:
        return Sentence(f"{each['name']}: not observed; {wanted} wanted.")
    value = objective_value(each)
    value = "too few requests for a percentile" if value == FEW else value
    text = f"{each['name']}: {verdict}; {value}, {wanted} wanted"
    if each.get("good_share") is not None:
        text += (
            f"; {share(each['good_share'])} of {count(each.get('count'))} were good, "
            f"{share(each['required_share'])} needed"
        )
    return Sentence(f"{text}.", "good" if each["met"] else "bad")


def _load(summary: Summary) -> list[Sentence]:
    flow = summary["throughput"]
    if flow["requests_per_s"] is None:
        return []
    agents = summary.get("live_agents_mean")
    who = (
        "Agents" if agents is None else f"{count(agents)} agent{'' if round(agents) == 1 else 's'} on average"
    )
    first_s = summary["effective_ttft_s"].get("p50")
    text = (
        f"{who} had {rate(flow['requests_per_s'], 'requests/s')} answered with "
        f"{rate(flow['prompt_tokens_per_s'], 'prompt tokens/s')} for {seconds(summary['duration_s'])}"
    )
    if first_s is not None:
        text += f"; the first token came {seconds(first_s)} (median) after a turn was due"
    return [Sentence(f"{text}.")]


def _bound(summary: Summary) -> list[Sentence]:
    """Say what the run was bound by, or how near to full the fullest was."""
    told = bound(summary)
    return [] if told is None else [Sentence(f"{told[0].upper()}{told[1:]}.")]


def _cache(summary: Summary) -> list[Sentence]:
    cache = summary["cache"]
    hit, ideal, lost = cache["hit_rate"], cache["ideal_hit_rate"], cache["lost_to"]
    if not summary["requests"]["finished"]:
        return []
    if hit is None or ideal is None:
        return [Sentence("The target does not say what it found in its cache.")]
    text = f"{share(hit)} of the prompt tokens were cached; without limits it would have been {share(ideal)}"
    known = {cause: value for cause, value in lost.items() if value}
    cause = max(known, key=lambda name: known[name], default=None)
    if cause is None or known[cause] < LOSS_TOLD:
        return [Sentence(f"{text}.")]
    why = CAUSES.get(cause, cause.replace("_", " "))
    return [Sentence(f"{text}. Most was lost to {why}: {share(known[cause])}.")]


def _failed(summary: Summary) -> list[Sentence]:
    failures = summary.get("failures") or {}
    failed = summary["requests"]["failed"]
    if not failed:
        return []
    kind = max(failures, key=lambda name: failures[name], default=None)
    told = {reason["class"]: reason for reason in summary.get("failure_reasons", ())}
    text = f"{count(failed)} of {count(summary['requests']['sent'])} requests failed"
    if kind is not None:
        text += f", most as {kind}"
        if told.get(kind, {}).get("example"):
            text += f": {told[kind]['example']}"
    remedy = told.get(kind, {}).get("remedy") if kind is not None else None
    return [Sentence(text.rstrip(".") + "." + (f" {remedy}" if remedy else ""), "bad")]
