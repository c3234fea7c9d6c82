"""What a provider said it read from its cache and wrote there, what that cost, and the waits before it.

Knows: recorded requests. Does not know: blocks.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.config.prices import PricesConfig
from swarm.reuse.analysis import describe
from swarm.reuse.survey import Surveyed
from swarm.workload.recorded import RecordedRequest, RecordedSession

OPENED_BY = ("start", "tool", "human", "notice", "compaction")
"""What came before a request; a notice is a hook, a task's end, or anything else that is no person."""
GAPS_S = (0.0, 60.0, 300.0, 3600.0)
"""Where classes of gaps begin: the TTLs that providers sell lie between."""
MAIN = "main agent"
_MTOK = 1_000_000
_UNSAID = -1
_NO_TTL = 0.0
Ints = NDArray[np.int64]


class Names:
    """Numbers for names, in the order in which they came."""

    def __init__(self) -> None:
        self.all: dict[str, int] = {}

    def number(self, name: str) -> int:
        """Return a name's number."""
        return self.all.setdefault(name, len(self.all))


class Paid:
    """Takes sessions; keeps a few numbers of each request."""

    def __init__(self) -> None:
        self._names = {name: Names() for name in ("project", "model", "kind")}
        self._counts = {
            name: array("q")
            for name in ("session", "opened_by", "input", "read", "written", "output", *self._names)
        }
        self._times = {name: array("d") for name in ("gap_s", "ttl_s")}
        self._sessions = 0

    def add(self, session: RecordedSession) -> None:
        """Take a session."""
        project = self._names["project"].number(session.project)
        for entry in session.entries:
            if isinstance(entry, RecordedRequest):
                self._take(entry, project, MAIN)
                continue
            for request in entry.requests:
                self._take(request, project, entry.kind or "sub-agent")
        self._sessions += 1

    def _take(self, request: RecordedRequest, project: int, kind: str) -> None:
        row = {
            "session": self._sessions,
            "project": project,
            "model": self._names["model"].number(request.model),
            "kind": self._names["kind"].number(kind),
            "opened_by": OPENED_BY.index(_opened_by(request)),
            "input": request.input_tokens,
            "read": _UNSAID if request.read_tokens is None else request.read_tokens,
            "written": request.written_tokens or 0,
            "output": request.output_tokens,
        }
        for name, column in self._counts.items():
            column.append(row[name])
        self._times["gap_s"].append(np.nan if request.think_s is None else request.think_s)
        self._times["ttl_s"].append(request.written_ttl_s or _NO_TTL)

    def waits(self) -> dict[str, Any]:
        """Return the waits before requests, by what they waited for."""
        opened_by, gap_s = self._column("opened_by"), np.frombuffer(self._times["gap_s"])
        known = ~np.isnan(gap_s)
        return {
            f"{name}_s": describe(gap_s[known & (opened_by == OPENED_BY.index(name))])
            for name in ("tool", "human", "notice")
        }

    def recorded(self, surveyed: Surveyed, prices: PricesConfig) -> dict[str, Any] | None:
        """Return what was read, written and paid; None where no request says it."""
        said = self._column("read") >= 0
        if not said.any():
            return None
        rows = {name: self._column(name)[said] for name in self._counts}
        ttl_s = np.frombuffer(self._times["ttl_s"])[said]
        gap_s = np.frombuffer(self._times["gap_s"])[said]
        cost = _costs(rows, ttl_s, prices)
        plain = (rows["input"].sum() * prices.input_per_mtok) / _MTOK
        plain += (rows["output"].sum() * prices.output_per_mtok) / _MTOK
        total = float(cost.sum())
        return {
            **_sums(rows, np.arange(len(ttl_s))),
            "requests_unsaid": int((~said).sum()),
            "plain_tokens": int((rows["input"] - rows["read"] - rows["written"]).sum()),
            "written_by_ttl": _by_ttl(rows["written"], ttl_s),
            "paid": {
                "cost": total,
                "currency": prices.currency,
                "uncached": float(plain),
                "share_of_uncached": total / float(plain) if plain else None,
            },
            "prefill_amplification": _amplification(rows, said, surveyed),
            "by_gap": _by_gap(rows, gap_s),
            **{f"by_{name}": self._by(name, rows, cost) for name in self._names},
        }

    def _by(self, name: str, rows: dict[str, Ints], cost: NDArray[np.float64]) -> list[dict[str, Any]]:
        """Return the sums by project, model or kind of agent, the most expensive first."""
        names = list(self._names[name].all)
        table = []
        for number in np.unique(rows[name]).tolist():
            chosen = np.flatnonzero(rows[name] == number)
            sessions = len(np.unique(rows["session"][chosen]))
            sums = _sums(rows, chosen)
            table.append(
                {name: names[number], "sessions": sessions, **sums, "cost": float(cost[chosen].sum())}
            )
        return sorted(table, key=lambda row: -row["cost"])

    def _column(self, name: str) -> Ints:
        return np.frombuffer(self._counts[name], dtype=np.int64)


def _opened_by(request: RecordedRequest) -> str:
    for name in ("compaction", "notice"):
        if name in request.input_types:
            return name
    if request.think_s is None:
        return "start"
    return "tool" if "tool_result" in request.input_types else "human"


def _sums(rows: dict[str, Ints], chosen: Ints) -> dict[str, Any]:
    inputs, read = int(rows["input"][chosen].sum()), int(rows["read"][chosen].sum())
    return {
        "requests": len(chosen),
        "input_tokens": inputs,
        "read_tokens": read,
        "written_tokens": int(rows["written"][chosen].sum()),
        "output_tokens": int(rows["output"][chosen].sum()),
        "hit_rate": read / inputs if inputs else None,
    }


def _costs(rows: dict[str, Ints], ttl_s: NDArray[np.float64], prices: PricesConfig) -> NDArray[np.float64]:
    """Return each request's price; what was written for no stated time is plain input."""
    plain = rows["input"] - rows["read"] - rows["written"]
    levels, which = np.unique(ttl_s, return_inverse=True)
    write_prices = np.array([_write_price(level, prices) for level in levels.tolist()])[which]
    priced: NDArray[np.float64] = (
        plain * prices.input_per_mtok
        + rows["read"] * prices.cache_read_per_mtok
        + rows["written"] * write_prices
        + rows["output"] * prices.output_per_mtok
    ) / _MTOK
    return priced


def _write_price(ttl_s: float, prices: PricesConfig) -> float:
    """Return the price of the shortest time offered that is long enough."""
    offered = sorted(prices.cache_writes, key=lambda write: write.ttl_s)
    long_enough = (write.per_mtok for write in offered if ttl_s != _NO_TTL and write.ttl_s >= ttl_s)
    return next(long_enough, prices.input_per_mtok)


def _by_ttl(written: Ints, ttl_s: NDArray[np.float64]) -> list[dict[str, Any]]:
    return [
        {"ttl_s": None if level == _NO_TTL else level, "tokens": int(written[ttl_s == level].sum())}
        for level in np.unique(ttl_s).tolist()
    ]


def _amplification(rows: dict[str, Ints], said: NDArray[np.bool_], surveyed: Surveyed) -> float | None:
    """Return tokens computed for each that no cache could have held; None where requests say nothing."""
    new = int(surveyed.input_tokens.sum()) - _reusable(surveyed)
    return int((rows["input"] - rows["read"]).sum()) / new if said.all() and new > 0 else None


def _reusable(surveyed: Surveyed) -> int:
    pieces = surveyed.reuse.pieces
    return int((pieces.tokens - pieces.overhang).sum())


def _by_gap(rows: dict[str, Ints], gap_s: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Return hits by what opened a request and how long it had waited since the reply before it."""
    bounds: Sequence[float] = (*GAPS_S, float("inf"))
    table = []
    for number, opened_by in enumerate(OPENED_BY):
        of_class = rows["opened_by"] == number
        first = np.flatnonzero(of_class & np.isnan(gap_s))
        if len(first):
            table.append({"opened_by": opened_by, "gap_s": None, **_sums(rows, first)})
        for low, high in itertools.pairwise(bounds):
            chosen = np.flatnonzero(of_class & (gap_s >= low) & (gap_s < high))
            if len(chosen):
                gap = [low, None if high == float("inf") else high]
                table.append({"opened_by": opened_by, "gap_s": gap, **_sums(rows, chosen)})
    return table
