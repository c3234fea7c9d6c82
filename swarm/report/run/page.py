"""`report.html`: one file that opens offline, of one run or of several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from swarm.records.run_folder import RunFolder
from swarm.report.charts import titled, write_pictures
from swarm.report.compare.alikeness import caveats
from swarm.report.compare.comparison import INTERVAL, compare, difference_row
from swarm.report.compare.told import told
from swarm.report.document import Markup, contents, page, place, section, table
from swarm.report.notes import listed
from swarm.report.numbers import UNKNOWN, count, plain, seconds, share
from swarm.report.run.answer import answer
from swarm.report.run.charts import run_charts
from swarm.report.run.figures import (
    GROUPS,
    LATENCY_COLUMNS,
    amount,
    budget,
    good,
    latency_table,
    objective_value,
    percent,
    used,
)
from swarm.report.run.missed import worst_sessions
from swarm.report.run.remarks import view_remarks
from swarm.report.run.view import View, view_of
from swarm.report.run.watched import series_of, watched_chart, watched_said

Summary = Mapping[str, Any]
PICTURES_MAX = 24

TITLES = {
    "slo": (
        "The SLO over time, and by session",
        "By due time, measured phase. Below the line the sessions that missed most: the stronger a cell, the "
        "more of that session's requests missed there.",
    ),
    "failing": (
        "Failures over time",
        "By when they failed; the words of the server stand in the table below.",
    ),
    "waiting": (
        "Waiting for limits",
        "Requests that waited to be admitted, or to try again after a refusal (429) or another failure.",
    ),
    "session_timeline": (
        "Token usage of a session, and its agents",
        "Above, a bar for each finished request of the orchestrator: cached input gray, new input salmon, "
        "output blue; amber dots are a person's messages. Below, a lane for each agent: a line while it "
        "thinks or waits for its sub-agents. The menu has the sessions that stand out.",
    ),
    "effective_ttft": (
        "Effective TTFT",
        "From the time a turn was due to its first token: with admission, retries and the client's own lag.",
    ),
    "ttft": ("TTFT on the wire", "From the first byte sent to the first token."),
    "ttft_by_length": (
        "TTFT by prompt length",
        "Measured phase, on the wire. Each circle is a cell of requests, coloured by how much of their "
        "prompts was cached.",
    ),
    "tpot": ("Time per output token, and output", "Of requests that finished."),
    "hit_rate": ("Hit rate", "Token-weighted."),
    "agents": ("Agents and open requests", ""),
    "server": ("Running and waiting in the server", "As its own gauges say, of all its clients."),
    "throughput": ("Tokens", "Of requests that finished."),
    "watched": (
        "Watched metrics beside the TTFT",
        "Of target.watched, once a window, on the run's clock; counters by what came on each second.",
    ),
    "losses": (
        "Where the prompt's tokens went",
        "Ideal less observed hits, split by cause without remainder.",
    ),
    "tiers": ("Hits by memory tier", ""),
    "memories": (
        "Memories over time",
        "How full each tier was, what was read from it and written to it, and the writes that it dropped. "
        "Reads count when they begin, writes when they end: a large one stands above the tier's bandwidth.",
    ),
    "replicas": (
        "Load of the replicas",
        "By completion; a live run sees the target's URLs, not what is behind them.",
    ),
    "cost": ("Cost", "Of the finished requests, at the prices of the fleet."),
    "capacity": ("Capacity", "The levels that the search walked, with the interval of each."),
}
WINDOWS_BY = {
    "effective_ttft": "the first token",
    "ttft": "the first token",
    "tpot": "completion",
    "hit_rate": "completion",
    "throughput": "completion",
}
"""What puts a request into a window, for charts over time that tables have figures of."""
WHOLE = "summary.json and *.parquet; as CSV, but for tiers.parquet: swarm export RUN --to csv --out DIR"
"""Where all that charts are drawn from lies, beside the page."""
OBJECTIVES_NOTE = (
    "The value is of the requests that finished. An objective is met by the share of good ones among all "
    "that were due: a failed one is not good."
)
MODES = {
    "live": "measured: requests over HTTP, wall time",
    "simulate": "emulated: the fleet is a model, time is virtual",
}


def write_report(folders: Sequence[RunFolder], out: Path) -> Path:
    """Write the page of one run with its pictures, or of several side by side; return its path."""
    out.mkdir(parents=True, exist_ok=True)
    if len(folders) > 1:
        charts: dict[str, Any] = {}
        parts = _comparison(folders)
        title = "Runs compared"
    else:
        view = view_of(folders[0])
        summary = view.summary
        charts, said = charts_of(view, folders[0])
        parts = _run(view, charts, said)
        title = f"{summary['experiment']} · {summary['run_id']}"
        _write_pictures(folders[0], out, charts)
    path = out / "report.html"
    path.write_text(page(title, parts, charts, whole=WHOLE), encoding="utf-8")
    return path


def charts_of(view: View, folder: RunFolder) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a run's charts by name, in the order of the page, and a sentence for those that have one."""
    charts, said = run_charts(view), view_remarks(view)
    seen = series_of(folder.watched())
    if (watched := watched_chart(view.windows, seen, view.summary["measured"])) is not None:
        charts["watched"], said["watched"] = (
            watched,
            watched_said(view.windows, seen, view.summary["measured"]),
        )
    return charts, said


def charts_to_show(folder: RunFolder) -> dict[str, Any]:
    """Return a run's charts by name, each with its title and the project's look: a notebook draws them."""
    view = view_of(folder)
    source = source_line(view.summary)
    charts, _ = charts_of(view, folder)
    return {name: titled(chart, title=TITLES[name][0], source=source) for name, chart in charts.items()}


def answer_markup(summary: Summary) -> str:
    """Return what a run says as HTML, for a notebook."""
    return f"{_head(summary)}{_answer(summary)}{_warnings(summary)}"


def _run(view: View, charts: Mapping[str, Any], said: Mapping[str, str]) -> list[str]:
    summary = view.summary

    def drawn(*names: str) -> list[str]:
        return [_chart(name, said.get(name, "")) for name in names if name in charts]

    slo = [_objectives(summary["slo"])] if summary["slo"]["objectives"] else []
    full = [_saturation(summary["saturation"])] if summary.get("saturation") else []
    parts = [*drawn("capacity"), *slo, *drawn("slo"), _worst(view), *full]
    parts += [*drawn("failing"), _failures(summary), *drawn("waiting")]
    parts += drawn("losses", "tiers", "memories", "replicas", "ttft_by_length", "session_timeline")
    parts.append(_over_time_note(summary))
    parts += drawn("effective_ttft", "watched", "ttft", "tpot", "hit_rate", "agents", "server", "throughput")
    parts += [_latencies(summary), _cards(summary), _hit_rates(summary), _server(summary)]
    parts += [*drawn("cost"), _money(summary)]
    return [_head(summary), _answer(summary), _warnings(summary), contents(parts), *parts]


def _chart(name: str, said: str) -> str:
    title, note = TITLES[name]
    return section(
        title, place(name, f"{title}. {said}".strip()), f"{note} {_windows_note(name)}".strip(), said=said
    )


def _over_time_note(summary: Summary) -> str:
    """Say, before the charts over time, where they part from the tables."""
    if not summary["measured"]["from_s"]:
        return ""
    return (
        "<p class=soft>The charts that follow go by when things happened, "
        "tables go by due time: right of the warm-up there are requests, too, that were due in it.</p>"
    )


def _worst(view: View) -> str:
    rows = [] if view.missed is None else worst_sessions(view.requests, view.missed)
    head = ("session", "missed", "of", "", "most of them because")
    note = "Requests of the measured phase that missed an objective, and what took most of their time."
    return section("Sessions that missed most", table(head, rows), note) if rows else ""


def _answer(summary: Summary) -> str:
    """Return what the run says, in sentences: the first thing that is read."""
    lines = "".join(f"<li class={each.tone}>{escape(each.text)}</li>" for each in answer(summary))
    return f"<ul class=answer>{lines}</ul>"


def _windows_note(name: str) -> str:
    """Say by what time a chart places requests."""
    return f"By the time of {WINDOWS_BY[name]}." if name in WINDOWS_BY else ""


def _head(summary: Summary) -> str:
    mode = MODES[summary["mode"]]
    return (
        f"<h1>{escape(summary['experiment'])}</h1>"
        f"<p class=soft>{escape(summary['run_id'])} · seed {summary['seed']} · {escape(mode)}</p>"
    )


def _warnings(summary: Summary) -> str:
    return _findings(summary) + listed(summary.get("notes", ()))


def _findings(summary: Summary) -> str:
    if summary["valid"]:
        return ""
    items = "".join(f"<li>{escape(reason)}</li>" for reason in summary["invalid_reasons"])
    return f"<div class=bad><b>This run is invalid.</b> Do not use these numbers:<ul>{items}</ul></div>"


def _cards(summary: Summary) -> str:
    cards = []
    for title, figures in GROUPS.items():
        rows = [(figure.label, figure.text(summary)) for figure in figures]
        cards.append(f"<div><h2>{escape(title)}</h2>{table(('', ''), rows)}</div>")
    return f"<div class=cards>{''.join(cards)}</div>"


def _latencies(summary: Summary) -> str:
    rows = [(label, *texts) for label, texts in latency_table(summary)]
    return section(
        "Latencies",
        table(("", *LATENCY_COLUMNS), rows),
        "Finished requests of the measured phase. A percentile needs an observation beyond it: p99 has 100.",
    )


def _objectives(slo: Summary) -> str:
    rows = []
    for each in slo["objectives"]:
        met = {
            True: Markup("<span class=good>met</span>"),
            False: Markup("<span class=missed>missed</span>"),
            None: "not observed",
        }
        rows.append(
            (
                each["name"],
                objective_value(each),
                amount(each, each["target"]),
                _burn(each),
                good(each),
                count(each.get("count")),
                budget(each),
                met[each["met"]],
            )
        )
    goodput = slo["goodput_ratio"]
    note = f"Goodput, requests that met all: {share(goodput)}" if goodput is not None else ""
    head = ("", "value", "bound", "used", "good, needed", "of", "misses", "")
    return section("Objectives", table(head, rows), f"{OBJECTIVES_NOTE} {note}".strip())


def _burn(objective: Summary) -> str:
    share_used = used(objective)
    if share_used is None:
        return UNKNOWN
    over = " over" if objective["met"] is False else ""
    width = min(1.0, share_used) * 90
    return Markup(f"<span class='bar{over}' style='width:{width:.0f}px'></span> {percent(share_used)}")


def _saturation(saturation: Summary) -> str:
    """Return how busy each resource was over the measured phase, and which was full."""
    rows = [
        (each["name"], percent(each["share"]), each["told"], "full" if each["name"] == full else "")
        for full in (saturation["bound_by"],)
        for each in saturation["resources"]
    ]
    note = "Over the measured phase: 100 % had no time left, more is work that piled up. A dash is unknown."
    return section("What was full", table(("", "busy", "", ""), rows), note)


def _hit_rates(summary: Summary) -> str:
    views = summary.get("hit_rates") or {}
    labels = {
        "ideal": "Ideal: no limits",
        "modelled": "Modelled: the stated cache",
        "reported": "Reported by the server",
        "counters": "The server's own counters",
    }
    rows = [
        (
            label,
            share((views.get(name) or {}).get("hit_rate")),
            count((views.get(name) or {}).get("hit_tokens")),
            count((views.get(name) or {}).get("prompt_tokens")),
        )
        for name, label in labels.items()
    ]
    note = "Over the whole run, warm-up included. A dash is unknown, never 0."
    found = section(
        "Hit rates side by side", table(("", "hit rate", "hit tokens", "prompt tokens"), rows), note
    )
    return found + _by_turn(summary)


def _by_turn(summary: Summary) -> str:
    """Return hits by the number of a request in its agent, where there is more than one."""
    lines = summary["cache"].get("by_turn") or []
    if len(lines) < 2:
        return ""
    rows = [
        (
            _turns(line["turn_from"], line["turn_to"]),
            count(line["requests"]),
            share(line["hit_rate"]),
            share(line["ideal_hit_rate"]),
            seconds(line["ttft_mean_s"]),
        )
        for line in lines
    ]
    note = "A request's number in its agent, from 1; of a workload of rounds, the round."
    return section("Hits by turn", table(("turn", "requests", "hit rate", "ideal", "mean TTFT"), rows), note)


def _turns(first: int, last: int | None) -> str:
    if last is None:
        return f"{first + 1} and later"
    return f"{first + 1}" if first == last else f"{first + 1}-{last + 1}"


def _server(summary: Summary) -> str:
    """Return what the target's own counters and gauges said while the run went on."""
    found = summary.get("server")
    if not found:
        return ""
    labels = {
        "running_mean": ("Running, mean", plain),
        "running_max": ("Running, most", count),
        "waiting_mean": ("Waiting, mean", plain),
        "waiting_max": ("Waiting, most", count),
        "kv_use_mean": ("KV memory in use, mean", share),
        "kv_use_max": ("KV memory in use, most", share),
        "preemptions": ("Preemptions", count),
        "restarts": ("Restarts", count),
    }
    rows = [(label, show(found.get(name))) for name, (label, show) in labels.items()]
    rows += [
        (f"Prompt tokens from {source.replace('_', ' ')}", count(tokens))
        for source, tokens in found["tokens_by_source"].items()
    ]
    note = f"From {found['samples']:,} looks at its counters over the whole run; all its clients are in them."
    return section("The server over time", table(("", ""), rows), note)


def _money(summary: Summary) -> str:
    """Return cost and rate limits, where the fleet has prices or a limit was met."""
    rows = []
    for title in ("cost", "rate_limited"):
        found = summary.get(title) or {}
        if title == "rate_limited" and not any(found.values()):
            continue
        for key, value in found.items():
            if isinstance(value, int | float | str) and not isinstance(value, bool):
                text = value if isinstance(value, str) else plain(value)
                rows.append((f"{title.replace('_', ' ')}: {key.replace('_', ' ')}", text))
    return section("Cost and rate limits", table(("", ""), rows)) if rows else ""


def _failures(summary: Summary) -> str:
    told = {reason["class"]: reason for reason in summary.get("failure_reasons", ())}
    rows = [
        (kind, count(number), *(told.get(kind, {}).get(name) or "" for name in ("example", "remedy")))
        for kind, number in summary.get("failures", {}).items()
    ]
    head = ("", "requests", "one of them", "what to do")
    return section("Failed requests by class", table(head, rows)) if rows else ""


def _picture_kinds(folder: RunFolder) -> tuple[str, ...]:
    try:
        kinds = folder.run()["experiment"]["charts"]
    except (OSError, KeyError, TypeError):
        return ("png",)
    return tuple(kinds)


def _write_pictures(folder: RunFolder, out: Path, charts: Mapping[str, Any]) -> None:
    shown = dict(list(charts.items())[:PICTURES_MAX])
    source = source_line(folder.summary())
    write_pictures(out / "charts", shown, kinds=_picture_kinds(folder), titles=TITLES, source=source)


def source_line(summary: Summary) -> str:
    """Return where a run's picture comes from: the run, whether it was measured or emulated, its load."""
    mode = MODES[summary["mode"]].split(":")[0]
    return f"{summary['run_id']} · {mode} · {count(summary['requests']['sent'])} requests"


def _caveats(both: str, found: Sequence[str]) -> str:
    if not found:
        return ""
    items = "".join(f"<li>{escape(caveat)}</li>" for caveat in found)
    return f"<div class=bad><b>{escape(both)} are not alike:</b><ul>{items}</ul></div>"


def _comparison(folders: Sequence[RunFolder]) -> list[str]:
    summaries = [folder.summary() for folder in folders]
    names = [
        f"{summary['experiment']} ({folder.path.name})"
        for summary, folder in zip(summaries, folders, strict=True)
    ]
    every = [
        (name, compare(folders[0], other, others=len(folders) - 1))
        for name, other in zip(names[1:], folders[1:], strict=True)
    ]
    said = [(name, each) for name, found in every for each in told(found)]
    lines = "".join(f"<li class={each.tone}>{escape(f'{name}: {each.text}')}</li>" for name, each in said)
    parts = ["<h1>Runs compared</h1>", f"<p class=soft>{escape(f'Against {names[0]}')}</p>"]
    for summary in summaries:
        parts.append(_warnings(summary) and f"{_head(summary)}{_warnings(summary)}")
    for name, other in zip(names[1:], folders[1:], strict=True):
        parts.append(_caveats(f"{names[0]} and {name}", caveats(folders[0], other)))
    parts.append(f"<ul class=answer>{lines}</ul>")
    for title, figures in GROUPS.items():
        rows = [(figure.label, *(figure.text(summary) for summary in summaries)) for figure in figures]
        parts.append(section(title, table(("", *names), rows)))
    for name, found in every:
        rows = [difference_row(each) for each in found]
        head = ("", names[0], name, "difference", INTERVAL, "")
        note = "Intervals are robust against requests of one session, and of one time, being alike."
        parts.append(section(f"{name} against {names[0]}", table(head, rows), note))
    return parts
