"""Latencies of rows, as arrays; NaN where a row does not have one. The one place that defines them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from swarm.records.columns import arrow_numbers

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Columns(Protocol):
    """A table, or some rows of one."""

    def column(self, name: str) -> Any:
        """Return a column by name."""


class Selection:
    """Some rows of a table; a column is copied only when it is asked for."""

    def __init__(self, table: pa.Table, keep: Flags) -> None:
        self.whole = table
        self.keep = keep
        self._mask = arrow_numbers(keep)
        self.num_rows = int(keep.sum())

    def column(self, name: str) -> Any:
        """Return a column of the rows kept."""
        return self.whole.column(name).filter(self._mask)

    def where(self, keep: Flags) -> Selection:
        """Return those of the table's rows that are kept by both."""
        return Selection(self.whole, self.keep & keep)

    def knowing(self, name: str) -> Selection:
        """Return the rows in which a column is not null."""
        return self.where(np.asarray(self.whole.column(name).is_valid().to_numpy(), dtype=np.bool_))


def floats(table: Columns, name: str) -> Floats:
    """Return a column as floats, null as NaN."""
    column = table.column(name).cast(pa.float64())
    return np.asarray(column.to_numpy(), dtype=np.float64)


def flags(table: Columns, name: str, equal_to: str | None = None) -> Flags:
    """Return a boolean column, or where a text column equals a word."""
    column = table.column(name)
    if equal_to is None:
        return np.asarray(column.to_numpy(), dtype=np.bool_)
    return np.asarray(pc.equal(column, equal_to).to_numpy(), dtype=np.bool_)


def ttft_s(table: Columns) -> Floats:
    """Return the final attempt's first byte sent to the first delta: the target's own time."""
    return floats(table, "first_token_s") - floats(table, "sent_s")


def effective_ttft_s(table: Columns) -> Floats:
    """Return the intended time to the first delta: every wait and the client's own lag inside."""
    return floats(table, "first_token_s") - floats(table, "intended_s")


def end_s(table: Columns) -> Floats:
    """Return the last delta's time, or the completion where deltas were not seen one by one."""
    last = floats(table, "last_token_s")
    return np.where(np.isnan(last), floats(table, "completed_s"), last)


def tpot_s(table: Columns) -> Floats:
    """Return the time after the first delta for each further output token; none for a single token."""
    tokens = floats(table, "output_tokens")
    gaps = np.where(tokens > 1, tokens - 1, np.nan)
    return (end_s(table) - floats(table, "first_token_s")) / gaps


def e2e_s(table: Columns) -> Floats:
    """Return the intended time to the completion: what the agent waited for its answer."""
    return floats(table, "completed_s") - floats(table, "intended_s")


def send_lag_s(table: Columns) -> Floats:
    """Return how long after its due time the first byte was sent: the run's own fault, on a real clock."""
    return floats(table, "sent_s") - floats(table, "due_s")


def itl_mean_s(table: Columns) -> Floats:
    """Return each request's mean gap between deltas."""
    return floats(table, "itl_mean_s")


def output_tokens_per_s(table: Columns) -> Floats:
    """Return a request's output tokens over all the time its agent waited: waits and prefill inside."""
    waited_s = e2e_s(table)
    return floats(table, "output_tokens") / np.where(waited_s > 0, waited_s, np.nan)


LATENCIES = {
    "ttft_s": ttft_s,
    "effective_ttft_s": effective_ttft_s,
    "tpot_s": tpot_s,
    "itl_s": itl_mean_s,
    "e2e_s": e2e_s,
}
RATES = {"output_tokens_per_s": output_tokens_per_s}
VALUES = {**LATENCIES, **RATES}
"""What an objective may bound of one request; a request's `itl_s` is its mean gap."""
