"""Prometheus' text of `/metrics`, sample by sample: names, labels, numbers, and nothing of what they mean."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

TEXT_CHARS_MAX = 32 * 1024 * 1024
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)", re.MULTILINE)
_GROWING = re.compile(r"^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|histogram|summary)\b", re.MULTILINE)
_PARTS = ("_sum", "_count", "_bucket")
"""Of histograms and summaries: they only grow, as counters do."""
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Sample(NamedTuple):
    """One line of an exposition; a counter's `_total` is not part of its name."""

    name: str
    labels: dict[str, str]
    value: float


def samples(text: str, names: Collection[str]) -> Iterator[Sample]:
    """Yield the finite samples of some families, in their order; of a text that is no exposition, none."""
    for match in _SAMPLE.finditer(text, 0, TEXT_CHARS_MAX):
        name = match[1].removesuffix("_total")
        if name not in names:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if math.isfinite(value):
            yield Sample(name, dict(_LABEL.findall(match[2] or "")), value)


def matching(text: str, is_wanted: Callable[[str], bool]) -> Iterator[tuple[Sample, bool]]:
    """Yield the finite samples whose whole name is wanted, and whether each is a counter's.

    A counter is one by its TYPE line, or by a name that ends in `_total`; so are sums and counts of
    histograms and summaries. Names are as they stand.
    """
    counters = {
        match[1] + part
        for match in _GROWING.finditer(text, 0, TEXT_CHARS_MAX)
        for part in ([""] if match[2] == "counter" else _PARTS)
    }
    wanted: dict[str, bool] = {}
    for match in _SAMPLE.finditer(text, 0, TEXT_CHARS_MAX):
        name = match[1]
        if name not in wanted:
            wanted[name] = is_wanted(name)
        if not wanted[name]:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if math.isfinite(value):
            is_counter = name.endswith("_total") or name in counters
            yield Sample(name, dict(_LABEL.findall(match[2] or "")), value), is_counter


def prefixes(text: str) -> set[str]:
    """Return what the families' names begin with, up to the first `:` or `_`."""
    return {re.split("[:_]", match[1], maxsplit=1)[0] for match in _SAMPLE.finditer(text, 0, TEXT_CHARS_MAX)}
