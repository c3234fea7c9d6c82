"""Processes that make no frames do not pay for pandas."""

from __future__ import annotations

import subprocess
import sys

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
