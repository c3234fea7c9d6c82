"""What a reader of a run's figures must know beside them, and of many runs each kind of it once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

NUMBER = re.compile(r"(?<![\w.,-])\d[\d,]*(?:\.\d+)?%?(?![\w-])")
"""A number that stands alone; one within a name, as in Llama-3.3-70B, is the name's."""


def listed(notes: Sequence[str]) -> str:
    """Return the notes as a part of a page, or nothing where there are none."""
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<div class=note><b>To know with these numbers:</b><ul>{items}</ul></div>"


def kinds(summaries: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """Return each kind of note once, with how many points of a sweep carry it.

    Notes that differ in their numbers alone are of one kind, told with the least and the greatest of each.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    for point, summary in enumerate(summaries):
        for note in (summary or {}).get("notes", ()):
            found.setdefault(NUMBER.sub("#", note), []).append((point, note))
    return [
        f"{len({point for point, _ in carried})} of {len(summaries)} points: "
        + _joined([note for _, note in carried])
        for carried in found.values()
    ]


def _joined(notes: Sequence[str]) -> str:
    """Return notes of one kind as one, with the range of each number."""
    columns = zip(*(NUMBER.findall(note) for note in notes), strict=True)
    ranges = iter([_range(column) for column in columns])
    return NUMBER.sub(lambda _: next(ranges), notes[0])


def _range(numbers: Sequence[str]) -> str:
    ordered = sorted(set(numbers), key=lambda text: float(text.rstrip("%").replace(",", "")))
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]}…{ordered[-1]}"
