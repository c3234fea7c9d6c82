"""Processes that make no frames do not pay for pandas."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys
import pyarrow as pa
from swarm.records.rows import warm_up
warm_up()
table = pa.Table.from_pydict({"a": [1, 2]})
assert "pandas" not in sys.modules
assert table.to_pandas()["a"].sum() == 3
import pandas as pd
assert pa.array(pd.Series([1, None])).null_count == 1
"""


def test_arrow_makes_arrays_without_pandas_and_frames_with_it() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)


PARTS = re.compile(r"\b(?:pa|pyarrow)\.(compute|csv|dataset|ipc|parquet)\b")


def test_what_is_used_of_arrow_is_imported_where_it_is_used() -> None:
    """Else it is there only as long as another module of the process happens to import it."""
    borrowed = [
        f"{file.name}: {part}"
        for file in (ROOT / "swarm").rglob("*.py")
        for part in set(PARTS.findall(file.read_text(encoding="utf-8")))
        if f"import pyarrow.{part}" not in file.read_text(encoding="utf-8")
    ]
    assert borrowed == []
