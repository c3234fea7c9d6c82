"""One sentence under each chart, computed from what it draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from swarm.report.numbers import count, plain, seconds, share, three
from swarm.report.run.answer import agents_found
from swarm.report.run.failing import failing_told
from swarm.report.run.lengths import lengths_told
from swarm.report.run.limits import cost_told, waiting_told
from swarm.report.run.memories import memories_told
from swarm.report.run.missed import missed_told
from swarm.report.run.replicas import replicas_told
from swarm.report.run.view import View

Summary = Mapping[str, Any]


def view_remarks(view: View) -> dict[str, str]:
    """Return a sentence for each chart of a run's page that has something to be said of, by its name."""
    summary, phase = view.summary, view.summary["measured"]
    said = {
        "failing": failing_told(view.requests),
        "waiting": waiting_told(summary),
        "memories": memories_told(view.memories),
        "replicas": replicas_told(view.replicas, phase),
        "ttft_by_length": lengths_told(view.requests),
        "cost": cost_told(summary),
        "slo": "" if view.missed is None else missed_told(view.requests, view.missed),
    }
    return {**remarks(summary, view.windows), **{name: text for name, text in said.items() if text}}


def remarks(summary: Summary, windows: pd.DataFrame) -> dict[str, str]:
    """Return a sentence for each chart over time, and of sums, by the chart's name."""
    measured = _measured(summary, windows)
    said = {
        "effective_ttft": _latency(measured, "effective_ttft_s"),
        "ttft": _latency(measured, "ttft_s"),
        "tpot": _latency(measured, "tpot_s"),
        "hit_rate": _hit_rate(measured),
        "agents": _agents(summary, measured),
        "throughput": _throughput(summary),
        "losses": _losses(summary["cache"]),
        "capacity": _capacity(summary.get("capacity")),
    }
    return {name: text for name, text in said.items() if text}


def is_same_latency(windows: pd.DataFrame) -> bool:
    """Whether TTFT on the wire and effective TTFT are one curve: within a hundredth, or a millisecond."""
    for quantile in ("p50", "p95"):
        wire, effective = (f"{name}_{quantile}" for name in ("ttft_s", "effective_ttft_s"))
        if wire not in windows or effective not in windows:
            return False
        apart = (windows[effective] - windows[wire]).abs()
        if bool((apart > (0.01 * windows[effective]).clip(lower=1e-3)).any()):
            return False
    return True


def _measured(summary: Summary, windows: pd.DataFrame) -> pd.DataFrame:
    if windows.empty:
        return windows
    phase = summary["measured"]
    inside: pd.DataFrame = windows[windows["middle_s"].between(phase["from_s"], phase["to_s"])]
    return inside


def _latency(windows: pd.DataFrame, name: str) -> str:
    column = f"{name}_p95"
    if windows.empty or not windows[column].notna().any():
        return ""
    worst = windows.sort_values(column).dropna(subset=[column]).iloc[-1]
    middle = float(windows[column].median())
    text = f"p95 is {seconds(float(worst[column]))} at its highest, {seconds(float(worst['middle_s']))} in"
    return f"{text}; in half of the windows at most {seconds(middle)}."


def _hit_rate(windows: pd.DataFrame) -> str:
    if windows.empty or not windows["hit_rate"].notna().any():
        return ""
    least = windows.dropna(subset=["hit_rate"]).sort_values("hit_rate").iloc[0]
    text = f"Lowest {seconds(float(least['middle_s']))} in: {share(float(least['hit_rate']))}"
    ideal = least["ideal_hit_rate"]
    return (
        f"{text}, where no limits would have given {share(float(ideal))}." if pd.notna(ideal) else f"{text}."
    )


def _agents(summary: Summary, windows: pd.DataFrame) -> str:
    if windows.empty:
        return ""
    open_requests = windows["open_requests"]
    mean, most = plain(float(open_requests.mean())), plain(float(open_requests.max()))
    agents = count(summary["agents"]["peak_concurrent"])
    return f"At most {agents} agents were alive; {mean} requests were open on average, {most} at most."


def _throughput(summary: Summary) -> str:
    flow = summary["throughput"]
    prompt, output = flow["prompt_tokens_per_s"], flow["output_tokens_per_s"]
    return f"{three(prompt / output)} prompt tokens for each output token." if prompt and output else ""


def _losses(cache: Summary) -> str:
    hit, ideal, lost = cache["hit_rate"], cache["ideal_hit_rate"], cache["lost_to"]
    if hit is None or ideal is None:
        return ""
    total = sum(value for value in lost.values() if value)
    return (
        f"Of 100 prompt tokens {100 * hit:.1f} hit, {100 * total:.1f} were lost, "
        f"and {100 * max(0.0, 1 - ideal):.1f} no cache could have held."
    )


def _capacity(capacity: Summary | None) -> str:
    if not capacity:
        return ""
    found = f"{agents_found(capacity)} agents, with {capacity['confidence']:.0%} confidence"
    if "agents_middle" in capacity:  # of `answer: curve`
        return (
            f"{found}: there the curve through all looks passes the line. A dot is a look, its bar that "
            "look's own interval."
        )
    return (
        f"{found} in each level's verdict. A level passes where its interval lies above the line, and fails "
        "where it lies below."
    )
