"""A run over time: what happened in each stretch of `window_s`, in cells that add up.

A cell is one window of one host and endpoint. Requests are counted in the window they were sent in, first
deltas in theirs, and all else in the window of the completion. Levels (open requests, live agents) are kept
as changes: a level's mean in a window is the sum of all changes before it, plus the window's own, weighted by
the share of the window that was left. So hosts' cells, and their deltas over time, merge by addition alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from swarm.measure.latency import Floats, effective_ttft_s, flags, floats, send_lag_s, tpot_s, ttft_s
from swarm.measure.sketch import Sketch
from swarm.records.row import UNSENT
from swarm.records.rows import from_message, to_message

if TYPE_CHECKING:
    from swarm.config.experiment import Experiment

COUNTS = (
    "sent",
    "finished",
    "failed",
    "interrupted",
    "prompt_tokens",
    "cached_tokens",
    "known_prompt_tokens",
    "ideal_tokens",
    "output_tokens",
    "rewritten_tokens",
)
SKETCHES = ("ttft_s", "effective_ttft_s", "tpot_s", "send_lag_s")
LEVELS = ("open_requests", "live_orchestrators", "live_subagents")
CHANGES = tuple(f"{level}_{part}" for level in LEVELS for part in ("change", "moment"))

Place = tuple[int, int, str]
"""Window index, host, endpoint."""

CELL_SCHEMA = pa.schema(
    [
        ("window", pa.int64()),
        ("host", pa.int32()),
        ("endpoint", pa.string()),
        *((name, pa.int64()) for name in COUNTS),
        *((name, pa.float64()) for name in CHANGES),
        *((name, pa.binary()) for name in SKETCHES),
    ]
)


@dataclass(slots=True)
class Cell:
    """What one window of one host and endpoint adds up to."""

    counts: list[int] = field(default_factory=lambda: [0] * len(COUNTS))
    changes: list[float] = field(default_factory=lambda: [0.0] * len(CHANGES))
    sketches: dict[str, Sketch] = field(default_factory=dict)

    def merge(self, other: Cell) -> None:
        """Add another cell's content."""
        self.counts = [mine + more for mine, more in zip(self.counts, other.counts, strict=True)]
        self.changes = [mine + more for mine, more in zip(self.changes, other.changes, strict=True)]
        for name, sketch in other.sketches.items():
            self.sketch(name).merge(sketch)

    def sketch(self, name: str) -> Sketch:
        """Return a sketch by name, made when it first holds something."""
        found = self.sketches.get(name)
        if found is None:
            found = self.sketches[name] = Sketch()
        return found


class Windows:
    """Cells by place; `origin_s` puts a window's edge on the end of the warm-up."""

    def __init__(self, *, window_s: float, origin_s: float) -> None:
        self.window_s = window_s
        self.origin_s = origin_s % window_s - window_s if origin_s % window_s else 0.0
        self.cells: dict[Place, Cell] = {}

    def start_s(self, index: int) -> float:
        """Return when a window begins."""
        return self.origin_s + index * self.window_s

    def agent_started(self, at_s: float, *, host: int, is_subagent: bool) -> None:
        """Count an agent in."""
        self._change("live_subagents" if is_subagent else "live_orchestrators", at_s, 1.0, host)

    def agent_ended(self, at_s: float, *, host: int, is_subagent: bool) -> None:
        """Count an agent out."""
        self._change("live_subagents" if is_subagent else "live_orchestrators", at_s, -1.0, host)

    def add(self, rows: pa.Table) -> None:
        """Count rows of requests that have ended."""
        if not rows.num_rows:
            return
        hosts = floats(rows, "host").astype(np.int64)
        endpoints = rows.column("endpoint").combine_chunks().dictionary_encode()
        names = endpoints.dictionary.to_pylist()
        codes = np.asarray(endpoints.indices.to_numpy(), dtype=np.int64)
        sites = _Sites(self, hosts, codes, names)
        sent_s, completed_s = floats(rows, "sent_s"), floats(rows, "completed_s")
        is_ok = flags(rows, "outcome", "ok")
        cached = floats(rows, "cached_tokens")
        prompt = np.where(is_ok, floats(rows, "prompt_tokens"), 0.0)
        sent, completed = sites.at(sent_s), sites.at(completed_s)
        sent.count({"sent": np.ones(len(sent_s))})
        completed.count(
            {
                "finished": is_ok,
                "failed": flags(rows, "outcome", "failed"),
                "interrupted": flags(rows, "outcome", "interrupted") & ~flags(rows, "error_class", UNSENT),
                "prompt_tokens": prompt,
                "cached_tokens": np.where(is_ok, np.nan_to_num(cached), 0.0),
                "known_prompt_tokens": np.where(np.isnan(cached), 0.0, prompt),
                "ideal_tokens": np.where(is_ok, floats(rows, "ideal_tokens"), 0.0),
                "output_tokens": np.where(is_ok, floats(rows, "output_tokens"), 0.0),
                "rewritten_tokens": np.where(is_ok, floats(rows, "rewritten_tokens"), 0.0),
            },
        )
        sent.move("open_requests", 1.0)
        sites.at(np.where(np.isnan(sent_s), np.nan, completed_s)).move("open_requests", -1.0)
        first = sites.at(np.where(is_ok, floats(rows, "first_token_s"), np.nan))
        first.observe("ttft_s", ttft_s(rows))
        first.observe("effective_ttft_s", effective_ttft_s(rows))
        sites.at(np.where(is_ok, completed_s, np.nan)).observe("tpot_s", tpot_s(rows))
        sent.observe("send_lag_s", send_lag_s(rows))

    def take(self) -> Windows:
        """Return everything counted since the last call, and count from nothing again."""
        taken = Windows(window_s=self.window_s, origin_s=self.origin_s)
        taken.cells, self.cells = self.cells, {}
        return taken

    def last(self, count: int) -> Windows:
        """Return the last `count` windows' cells, shared with this object."""
        tail = Windows(window_s=self.window_s, origin_s=self.origin_s)
        newest = max((index for index, _, _ in self.cells), default=0)
        tail.cells = {place: cell for place, cell in self.cells.items() if place[0] > newest - count}
        return tail

    def merge(self, other: Windows) -> None:
        """Add what another host, or the same one later, has counted."""
        assert (other.window_s, other.origin_s) == (self.window_s, self.origin_s), (
            "windows of one run share edges"
        )
        for place, cell in other.cells.items():
            self.cell(place).merge(cell)

    def cell(self, place: Place) -> Cell:
        """Return the cell of a place, made when first asked for."""
        found = self.cells.get(place)
        if found is None:
            found = self.cells[place] = Cell()
        return found

    def to_bytes(self) -> bytes:
        """Return the cells for a message."""
        places = sorted(self.cells)
        cells = [self.cells[place] for place in places]
        columns: dict[str, list[Any]] = {
            "window": [place[0] for place in places],
            "host": [place[1] for place in places],
            "endpoint": [place[2] for place in places],
        }
        columns |= {name: [cell.counts[at] for cell in cells] for at, name in enumerate(COUNTS)}
        columns |= {name: [cell.changes[at] for cell in cells] for at, name in enumerate(CHANGES)}
        for name in SKETCHES:
            columns[name] = [
                cell.sketches[name].to_bytes() if name in cell.sketches else None for cell in cells
            ]
        return to_message(pa.Table.from_pydict(columns, schema=CELL_SCHEMA))

    def forget(self, keep: int) -> None:
        """Drop all windows but the last `keep`."""
        self.cells = self.last(keep).cells

    def merge_bytes(self, data: bytes) -> None:
        """Add the cells of a message."""
        for record in from_message(data).to_pylist():
            cell = Cell(
                counts=[record[name] for name in COUNTS],
                changes=[record[name] for name in CHANGES],
                sketches={
                    name: Sketch.from_bytes(record[name]) for name in SKETCHES if record[name] is not None
                },
            )
            self.cell((record["window"], record["host"], record["endpoint"])).merge(cell)

    def merge_together(self, messages: Sequence[bytes]) -> None:
        """Add the cells of many messages, of all hosts and endpoints as one: less work than one by one."""
        if not messages:
            return
        table = pa.concat_tables([from_message(message) for message in messages])
        if not table.num_rows:
            return
        unique, inverse = np.unique(table.column("window").to_numpy(), return_inverse=True)
        cells = [self.cell((int(index), 0, "")) for index in unique]
        for name in (*COUNTS, *CHANGES):
            sums = np.bincount(inverse, weights=table.column(name).to_numpy(), minlength=len(cells))
            for cell, more in zip(cells, sums.tolist(), strict=True):
                if name in COUNTS:
                    cell.counts[COUNTS.index(name)] += int(more)
                else:
                    cell.changes[CHANGES.index(name)] += more
        for name in SKETCHES:
            parts: list[list[bytes]] = [[] for _ in cells]
            for at, data in zip(inverse.tolist(), table.column(name).to_pylist(), strict=True):
                if data is not None:
                    parts[at].append(data)
            for cell, part in zip(cells, parts, strict=True):
                if part:
                    cell.sketch(name).merge_bytes(part)

    def _change(self, level: str, at_s: float, by: float, host: int) -> None:
        index = int((at_s - self.origin_s) // self.window_s)
        changes = self.cell((index, host, "")).changes
        at = CHANGES.index(f"{level}_change")
        changes[at] += by
        changes[at + 1] += by * (self.start_s(index + 1) - at_s)


def windows_of(experiment: Experiment) -> Windows:
    """Return the empty windows of a run: alike on every host."""
    return Windows(window_s=experiment.window_s, origin_s=experiment.load.warmup_s)


class _Sites:
    """Rows of one table by the cells they belong to."""

    def __init__(self, windows: Windows, hosts: Any, codes: Any, names: list[str]) -> None:
        self._windows = windows
        self._names = names
        self._hosts, self._host_of = np.unique(hosts, return_inverse=True)
        self._site = self._host_of.reshape(-1) * len(names) + codes

    def at(self, at_s: Floats) -> _Placed:
        """Return the rows that have a time, placed in the windows of it."""
        held = np.flatnonzero(~np.isnan(at_s))
        windows, names = self._windows, self._names
        index = np.floor((at_s[held] - windows.origin_s) / windows.window_s).astype(np.int64)
        sites = len(self._hosts) * len(names)
        # One number for each window and site: sorting numbers is much cheaper than sorting pairs.
        unique, ordinal = np.unique(index * sites + self._site[held], return_inverse=True)
        cells = []
        for key in unique.tolist():
            window, site = divmod(key, sites)
            host, name = divmod(site, len(names))
            cells.append(windows.cell((window, int(self._hosts[host]), names[name])))
        left_s = windows.origin_s + (index + 1) * windows.window_s - at_s[held]
        return _Placed(held, ordinal.reshape(-1), cells, left_s)


@dataclass(frozen=True, slots=True)
class _Placed:
    """Rows by their cell: which rows, each one's cell, and what was left of its window."""

    held: Any
    ordinal: Any
    cells: list[Cell]
    left_s: Floats

    def count(self, values: dict[str, Any]) -> None:
        for name, array in values.items():
            at = COUNTS.index(name)
            sums = np.bincount(self.ordinal, weights=array[self.held], minlength=len(self.cells))
            for cell, total in zip(self.cells, sums.tolist(), strict=True):
                cell.counts[at] += int(total)

    def move(self, level: str, by: float) -> None:
        counts = np.bincount(self.ordinal, minlength=len(self.cells)).tolist()
        moments = np.bincount(self.ordinal, weights=self.left_s, minlength=len(self.cells)).tolist()
        at = CHANGES.index(f"{level}_change")
        for cell, count, moment in zip(self.cells, counts, moments, strict=True):
            cell.changes[at] += by * count
            cell.changes[at + 1] += by * moment

    def observe(self, name: str, values: Floats) -> None:
        order = np.argsort(self.ordinal, kind="stable")
        edges = np.flatnonzero(np.diff(self.ordinal[order])) + 1
        groups = np.split(values[self.held][order], edges)
        for cell, group in zip(self.cells, groups, strict=False):
            cell.sketch(name).add_many(group)
