"""An analysis as tables in the terminal: the answer of a command that was asked for no file."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from swarm.report.analysis import recorded
from swarm.report.numbers import UNKNOWN, count, plain, seconds, share
from swarm.units import counted

DISTRIBUTIONS = {
    "think_time_s": ("Think time", seconds),
    "inter_arrival_s": ("Between requests", seconds),
    "api_time_s": ("Request time", seconds),
    "session_length_s": ("Session length", seconds),
    "requests_per_session": ("Requests per session", plain),
    "input_tokens_per_request": ("Input tokens", count),
    "new_tokens_per_request": ("  never seen before", count),
    "growth_tokens": ("  growth per turn", count),
    "first_input_tokens": ("  first of a session", count),
    "output_tokens_per_request": ("Output tokens", count),
    "requests_per_subagent": ("Requests per sub-agent", plain),
}
_WIDTH_ELSEWHERE = 120
_COLUMNS = ("mean", "p50", "p90", "p95", "p99", "max")


def show_analysis(analysis: dict[str, Any]) -> None:
    """Print the analysis on standard output.

    `prefills`: how often a block is computed, in the mean and at most; `held`: tokens in the working set;
    `cost`: the price beside that of the same tokens without a cache.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE)
    blocks = ", ".join(str(size) for size in analysis["block_tokens"])
    console.print(
        f"[bold]{counted(analysis['sessions'], 'session')}[/], "
        f"[bold]{counted(analysis['requests'], 'request')}[/], "
        f"{counted(analysis['subagents'], 'sub-agent')} over {seconds(analysis['span_s'])}; "
        f"{count(analysis['input_tokens'])} input and {count(analysis['output_tokens'])} output tokens "
        f"in blocks of {blocks}",
        soft_wrap=True,
    )
    if analysis["broken"]:
        files = counted(len({part["path"] for part in analysis["broken"]}), "file")
        parts = counted(len(analysis["broken"]), "broken part")
        console.print(f"[bold red]{parts} of {files} left out[/] (named above; all are in --json)")
    for note in analysis["notes"]:
        console.print(f"[bold red]note:[/] {escape(note)}", soft_wrap=True)
    for line in recorded.answers(analysis):
        console.print(line, soft_wrap=True, style="bold")
    for table in (_by_ttl(analysis), _by_capacity(analysis), _distributions(analysis), _sizing(analysis)):
        if table is not None:
            console.print()
            console.print(table)
    for shown in (*recorded.tables(analysis), recorded.waits(analysis), *recorded.provenance(analysis)):
        if shown is not None:
            console.print()
            console.print(_shown(shown))
    if analysis["recorded"] is not None:
        console.print()
        console.print(recorded.STAYS_HERE, style="dim")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _shown(shown: recorded.Shown) -> Table:
    table = _table(*shown.head)
    table.title, table.title_justify, table.title_style = shown.title, "left", "bold"
    for row in shown.rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def _ttl(ttl_s: float | None) -> str:
    return "no limit" if ttl_s is None else seconds(ttl_s)


def _by_ttl(analysis: dict[str, Any]) -> Table:
    table = _table("TTL", "hit rate", "prefills", "most", "held, mean", "peak", "cost")
    for row, cost in zip(analysis["ttl"], analysis["cost"]["ttl"], strict=True):
        table.add_row(
            _ttl(row["ttl_s"]),
            share(row["hit_rate"]),
            plain(row["reprefill_mean"]),
            count(row["reprefill_max"]),
            count(row["working_set_mean_tokens"]),
            count(row["working_set_peak_tokens"]),
            share(cost["share_of_uncached"]),
        )
    return table


def _by_capacity(analysis: dict[str, Any]) -> Table | None:
    if not analysis["lru"]:
        return None
    table = _table("LRU capacity (tokens)", "hit rate")
    for row in analysis["lru"]:
        size = row["capacity_tokens"]
        table.add_row("no limit" if size is None else count(size), share(row["hit_rate"]))
    return table


def _distributions(analysis: dict[str, Any]) -> Table:
    table = _table("", *_COLUMNS)
    for key, (label, show) in DISTRIBUTIONS.items():
        if analysis[key]["n"]:
            table.add_row(label, *(show(analysis[key][column]) for column in _COLUMNS))
    return table


def _sizing(analysis: dict[str, Any]) -> Table | None:
    sizing = analysis["sizing"]
    if sizing is None:
        return None
    table = _table("target hit rate", "tokens", "GiB in all", "GiB beyond the tiers above")
    for row in sizing["targets"]:
        if row["gib"] is None:
            table.add_row(share(row["hit_rate"]), UNKNOWN, "no size reaches it", UNKNOWN)
        else:
            table.add_row(
                share(row["hit_rate"]),
                count(row["capacity_tokens"]),
                plain(row["gib"]),
                plain(row["added_gib"]),
            )
    return table
