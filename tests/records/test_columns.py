"""The documentation of the run folder names every column, and no other."""

import re
from pathlib import Path

from swarm.records.columns import SCHEMA

PAGE = Path(__file__).parents[2] / "docs" / "run-folder.md"


def test_every_column_is_documented() -> None:
    section = PAGE.read_text().split("## `requests.parquet`")[1].split("\nTTFT =")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(SCHEMA.names)
