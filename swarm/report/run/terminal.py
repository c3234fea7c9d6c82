"""A run in the terminal: live lines while it goes on, tables when it has ended. All of it on stderr.

Standard output is for one thing, the run folder's path, so that a script can take it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarm.report.compare.comparison import INTERVAL, Difference, difference_row
from swarm.report.numbers import count, seconds, share
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

WIDTH_ELSEWHERE = 120
"""Where there is no terminal, tables are at most so wide."""


def _console() -> Console:
    width = None if sys.stderr.isatty() else WIDTH_ELSEWHERE
    return Console(stderr=True, highlight=False, width=width)


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
