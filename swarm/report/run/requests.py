"""A run's requests as arrays: what charts add up before they draw, however many there are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from swarm.measure.latency import Flags, Floats, flags, floats
from swarm.records.columns import LOST
from swarm.records.run_folder import RunFolder

Codes = npt.NDArray[np.int64]
CODED = ("session", "agent", "parent", "role", "kind", "opened_by", "outcome", "error_class")
"""Texts of which few differ, or that are long: read as codes, each word kept once."""
NUMBERS = (
    *("turn", "intended_s", "due_s", "sent_s", "first_token_s", "last_token_s", "completed_s"),
    *("prompt_tokens", "cached_tokens", "ideal_tokens", "output_tokens", "planned_output_tokens"),
    *("admission_wait_s", "retry_wait_s", "attempts", "itl_mean_s", "measured"),
)


class Requests:
    """The columns of a run's rows; numbers as floats, NaN where unknown, texts as codes, -1 where null."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table.unify_dictionaries().combine_chunks()
        self._numbers: dict[str, Floats] = {}
        self._codes: dict[str, tuple[Codes, list[str]]] = {}

    @classmethod
    def of(cls, folder: RunFolder) -> Requests:
        """Read what charts need of a run folder."""
        return cls(folder.requests([*CODED, *NUMBERS, *LOST], coded=CODED))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def number(self, name: str) -> Floats:
        """Return a column of numbers."""
        if name not in self._numbers:
            self._numbers[name] = floats(self.table, name)
        return self._numbers[name]

    def codes(self, name: str) -> tuple[Codes, list[str]]:
        """Return a column of texts as places in the list of its words."""
        if name not in self._codes:
            column = self.table.column(name)
            coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
            # Of a table without rows there is no chunk.
            chunk = coded.chunk(0) if coded.num_chunks else None
            if chunk is None:
                self._codes[name] = np.zeros(0, dtype=np.int64), []
            else:
                places = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)
                self._codes[name] = places.astype(np.int64), chunk.dictionary.to_pylist()
        return self._codes[name]

    def is_(self, name: str, word: str) -> Flags:
        """Return where a text is a word."""
        codes, words = self.codes(name)
        return codes == words.index(word) if word in words else np.zeros(len(codes), dtype=np.bool_)

    @property
    def measured(self) -> Flags:
        """Which requests were due in the measured phase."""
        return flags(self.table, "measured")

    @property
    def lost_tokens(self) -> Floats:
        """Ideal less observed hits of each request; NaN where hits are unknown."""
        return np.maximum(self.number("ideal_tokens") - self.number("cached_tokens"), 0.0)
