"""Counts of a server that are far from what was planned."""

import pyarrow as pa
import pytest

from swarm.measure.doubts import counts_told


def rows(prompt: list[int], output: list[int], outcome: str = "ok") -> pa.Table:
    return pa.table(
        {
            "outcome": [outcome] * len(prompt),
            "prompt_tokens": prompt,
            "planned_prompt_tokens": [1000] * len(prompt),
            "output_tokens": output,
            "planned_output_tokens": [10] * len(prompt),
        }
    )


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (rows([1000, 1000], [10, 10]), []),
        (rows([300, 3000], [1, 20]), []),
        (rows([20_000, 20_000], [10, 10]), ["40,000 prompt tokens where 2,000 were"]),
        (rows([50, 50], [10, 10]), ["100 prompt tokens where 2,000 were"]),
        (rows([50, 2000], [10, 10]), []),
        (rows([1000, 1000], [200, 200]), ["400 output tokens where 20 were"]),
        (rows([20_000], [200], "failed"), []),
        (rows([], []), []),
    ],
)
def test_counts_far_from_what_was_planned_are_told(table: pa.Table, expected: list[str]) -> None:
    told = counts_told(table)
    assert len(told) == len(expected)
    for note, words in zip(told, expected, strict=True):
        assert words in note
