"""The prompts of rows, in time's order, on one tree of places."""

from __future__ import annotations

import pyarrow as pa

from swarm.measure.reconcile import sends
from swarm.records.batch import Place


def test_rows_below_a_place_that_no_report_tells_of_are_left_out() -> None:
    places = [Place("root", None, 0), Place("a", "root", 10), Place("b", "lost", 10), Place("c", "b", 20)]
    names = ["a", "b", "c", "none"]
    count = len(names)
    table = pa.table(
        {
            "sent_s": [1.0, 2.0, 3.0, 4.0],
            "completed_s": [1.5] * count,
            "planned_prompt_tokens": [30] * count,
            "prompt_node": names,
            "echo": [False] * count,
            "outcome": ["ok"] * count,
            "output_tokens": [5] * count,
        }
    )
    assert [(row, prompt.node.name) for row, _, prompt, _ in sends(table, places)] == [(0, "a")]
