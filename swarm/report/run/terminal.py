"""A run in the terminal: live lines while it goes on, tables when it has ended. All of it on stderr.

Standard output is for one thing, the run folder's path, so that a script can take it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live as Screen
from rich.table import Table
from rich.text import Text

from swarm.config.experiment import Experiment
from swarm.live.coordinator import Snapshot
from swarm.measure.intervals import supports
from swarm.measure.window import COUNTS, Windows, windows_of
from swarm.report.compare.comparison import INTERVAL, Difference, difference_row
from swarm.report.numbers import count, rate, seconds, share
from swarm.report.run.capacity import advice, sentence
from swarm.report.run.figures import (
    GROUPS,
    LATENCY_COLUMNS,
    amount,
    bound,
    budget,
    good,
    latency_table,
    objective_value,
)
from swarm.units import counted

PLAIN_EVERY_S = 5.0
"""Where there is no terminal, a line is written this often."""


WIDTH_ELSEWHERE = 120
"""Where there is no terminal, tables are at most so wide."""


def _console() -> Console:
    width = None if sys.stderr.isatty() else WIDTH_ELSEWHERE
    return Console(stderr=True, highlight=False, width=width)


class Live:
    """Shows a run's state: redrawn on a terminal, a line now and then elsewhere."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._console = _console()
        self._screen: Screen | None = None
        self._shown_s = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._screen = Screen(console=self._console, auto_refresh=False, transient=True)
            self._screen.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen is not None:
            self._screen.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Show the state as last reported."""
        windows = windows_of(self._experiment)
        windows.merge_bytes(snapshot.windows)
        now_s, recent = _recent(windows)
        if self._screen is not None:
            self._screen.update(self._table(snapshot, now_s, recent), refresh=True)
        elif now_s - self._shown_s >= PLAIN_EVERY_S:
            self._shown_s = now_s
            self._console.print(self._line(snapshot, now_s, recent), soft_wrap=True)

    def note(self, text: str) -> None:
        """Tell of something that happened."""
        self._console.print(text, soft_wrap=True, style="dim")

    def _line(self, snapshot: Snapshot, now_s: float, recent: dict[str, Any]) -> str:
        until = self._experiment.load.duration_s
        span = "" if until is None else f"/{until:.0f}"
        return (
            f"{now_s:.0f}{span} s  agents {snapshot.live_orchestrators}+{snapshot.live_subagents}  "
            f"open {snapshot.open_requests}  sent {count(snapshot.sent)}  "
            f"{rate(recent['finished_per_s'], 'req/s')}  failed {recent['failed']}  "
            f"eff. TTFT p95 {seconds(recent['effective_ttft_s'])}  hits {share(recent['hit_rate'])}  "
            f"lag p99 {seconds(recent['send_lag_s'])}"
        )

    def _table(self, snapshot: Snapshot, now_s: float, recent: dict[str, Any]) -> Group:
        until = self._experiment.load.duration_s
        head = Text.assemble(
            (self._experiment.name, "bold"),
            f"   {seconds(now_s)}" + ("" if until is None else f" of {seconds(until)}"),
            f"   {counted(snapshot.hosts, 'host')}",
        )
        table = Table.grid(padding=(0, 3))
        for _ in range(4):
            table.add_column()
        table.add_row(
            _cell("agents", f"{snapshot.live_orchestrators} + {snapshot.live_subagents} sub"),
            _cell("open requests", count(snapshot.open_requests)),
            _cell("sent", count(snapshot.sent)),
            _cell("sessions ended", f"{snapshot.sessions_finished} of {snapshot.sessions_started}"),
        )
        table.add_row(
            _cell("finished", rate(recent["finished_per_s"], "/s")),
            _cell("eff. TTFT p50 / p95", f"{seconds(recent['p50'])} / {seconds(recent['effective_ttft_s'])}"),
            _cell("hit rate / ideal", f"{share(recent['hit_rate'])} / {share(recent['ideal_hit_rate'])}"),
            _cell("send lag p99", seconds(recent["send_lag_s"])),
        )
        parts: list[Text | Table] = [head, table]
        if recent["failed"]:
            parts.append(Text(f"{recent['failed']} failed in the last {recent['span_s']:.0f} s", "red"))
        return Group(*parts)


def _cell(label: str, value: str) -> Text:
    return Text.assemble((f"{label} ", "dim"), (value, "bold"))


def _recent(windows: Windows) -> tuple[float, dict[str, Any]]:
    """Return the newest time and what the windows before it add up to: the newest is not full yet."""
    newest = max((index for index, _, _ in windows.cells), default=0)
    full = [cell for (index, _, _), cell in windows.cells.items() if index < newest]
    whole = Windows(window_s=windows.window_s, origin_s=0.0).cell((0, 0, ""))
    for cell in full:
        whole.merge(cell)
    counts = dict(zip(COUNTS, whole.counts, strict=True))
    oldest = min((index for index, _, _ in windows.cells), default=0)
    span_s = max(1, newest - oldest) * windows.window_s

    def quantile(name: str, share: float) -> float | None:
        sketch = whole.sketch(name)
        return sketch.quantile(share) if supports(sketch.count, share) else None

    known, prompt = counts["known_prompt_tokens"], counts["prompt_tokens"]
    return windows.start_s(newest), {
        "span_s": span_s,
        "finished_per_s": counts["finished"] / span_s,
        "failed": counts["failed"],
        "p50": quantile("effective_ttft_s", 0.5),
        "effective_ttft_s": quantile("effective_ttft_s", 0.95),
        "send_lag_s": quantile("send_lag_s", 0.99),
        "hit_rate": counts["cached_tokens"] / known if known else None,
        "ideal_hit_rate": counts["ideal_tokens"] / prompt if prompt else None,
    }


def show_summary(summary: dict[str, Any]) -> None:
    """Print the tables of an ended run."""
    console = _console()
    console.print()
    title = f"{summary['experiment']}  ({summary['mode']}, seed {summary['seed']})"
    console.print(Text(title, "bold"))
    console.print(_figures(summary))
    console.print(_latencies(summary))
    if summary["slo"]["objectives"]:
        console.print(_objectives(summary))
    if summary.get("capacity"):
        console.print(_capacity(summary["capacity"]))
        console.print(Text(sentence(summary["capacity"]), "bold"), soft_wrap=True)
        more = advice(summary["capacity"])
        if more is not None:
            console.print(Text(more, "yellow"), soft_wrap=True)
    busy = bound(summary)
    if busy is not None:
        console.print(Text(busy), soft_wrap=True)
    if summary["valid"]:
        console.print(Text("valid", "green"))
    for reason in summary["invalid_reasons"]:
        console.print(Text(f"INVALID: do not use these numbers: {reason}", "bold red"), soft_wrap=True)
    for note in summary.get("notes", ()):
        console.print(Text(f"note: {note}", "yellow"), soft_wrap=True)


def _figures(summary: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in GROUPS:
        table.add_column(style="dim")
        table.add_column(justify="right")
    columns = list(GROUPS.values())
    for at in range(max(map(len, columns))):
        cells: list[str] = []
        for column in columns:
            figure = column[at] if at < len(column) else None
            cells += ["", ""] if figure is None else [figure.label, figure.text(summary)]
        table.add_row(*cells)
    return table


def _latencies(summary: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for column in LATENCY_COLUMNS:
        table.add_column(column, justify="right")
    for label, texts in latency_table(summary):
        table.add_row(label, *texts)
    return table


def _objectives(summary: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("objective", "value", "bound", "good, needed", "of", "misses", ""):
        table.add_column(column, justify="left" if column in ("objective", "") else "right")
    for each in summary["slo"]["objectives"]:
        met = {
            True: Text("met", "green"),
            False: Text("MISSED", "bold red"),
            None: Text("not observed", "dim"),
        }
        table.add_row(
            each["name"],
            objective_value(each),
            amount(each, each["target"]),
            good(each),
            count(each.get("count")),
            budget(each),
            met[each["met"]],
        )
    table.add_row("goodput", share(summary["slo"]["goodput_ratio"]), "", "", "", "", "")
    return table


def interval(low: float | None, high: float | None) -> str:
    """Return two shares in percent."""
    return "" if low is None or high is None else f"{low * 100:.1f}..{high * 100:.1f}"


def _capacity(capacity: dict[str, Any]) -> Table:
    """Return the levels that a search walked."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("agents", "good", "interval", "of", "held", "hits", "", ""):
        table.add_column(column, justify="left" if column == "" else "right")
    styles = {"passed": "green", "failed": "red"}
    for level in sorted(capacity["levels"], key=lambda each: each["agents"]):
        table.add_row(
            str(level["agents"]),
            share(level["value"]),
            interval(level["low"], level["high"]),
            share(level["required"]),
            seconds(level["hold_s"]),
            share(level["hit_rate"]),
            Text(level["verdict"], styles.get(level["verdict"], "yellow")),
            level["objective"] or "",
        )
    return table


def show_differences(
    differences: Sequence[Difference], caveats: Sequence[str], *, before: str, after: str
) -> None:
    """Print how one run differs from another, after what must be known with it."""
    console = _console()
    for caveat in caveats:
        console.print(Text(f"not alike: {caveat}", "bold red"), soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("", before, after, "difference", INTERVAL, ""):
        table.add_column(column, justify="left" if column == "" else "right")
    styles = {"worse": "bold red", "better": "green"}
    for each in differences:
        *cells, verdict = difference_row(each)
        table.add_row(*cells, Text(verdict, styles.get(verdict, "dim")))
    console.print(table)
