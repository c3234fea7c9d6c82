"""Rows on disk against the same rows in memory, in orders that chunks cut in any place."""

import random
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from swarm.errors import RunError
from swarm.records import spool
from swarm.records.row import RequestRow
from swarm.records.rows import RowTable, merged, values_of
from swarm.records.spool import RowSpool


def row(k: int, chance: random.Random) -> RequestRow:
    values: dict[str, Any] = {
        field: None if "None" in str(kind) else {"str": "", "bool": True}.get(str(kind), 0)
        for field, kind in RequestRow.__annotations__.items()
    }
    # As a run's rows come: by when they ended, and due at some time before, often at the same.
    due_s = float(max(0, k - int(chance.expovariate(0.01))))
    values |= {"outcome": "ok", "agent": f"s{chance.randrange(5)}", "turn": k, "intended_s": due_s}
    values |= {"by_tier": (k, 0, 0, 0, 0) if k % 3 else None}
    return RequestRow(**values)


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250, 1000, 2345])
def test_a_spool_gives_the_rows_that_a_table_gives(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "HELD_ROWS", 100)
    chance = random.Random(count)
    on_disk, in_memory = RowSpool(), RowTable()
    for k in range(count):
        each = row(k, chance)
        on_disk.append(values_of(each))
        in_memory.append(each)
    assert on_disk.ordered().equals(merged([in_memory.table()]))


def test_rows_before_the_last_chunk_are_not_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "HELD_ROWS", 100)
    chance = random.Random(1)
    rows = RowSpool()
    tracemalloc.start()
    try:
        for k in range(300):
            rows.append(values_of(row(k, chance)))
        few, _ = tracemalloc.get_traced_memory()
        for k in range(300, 6000):
            rows.append(values_of(row(k, chance)))
        many, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert many - few < 100 * 1000


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "HELD_ROWS", 2)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    rows = RowSpool()
    rows.append(values_of(row(0, random.Random(0))))
    with pytest.raises(RunError, match=r"absent.*set TMPDIR to a folder with room"):
        rows.append(values_of(row(1, random.Random(0))))
