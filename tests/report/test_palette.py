"""Colours of lines that share a chart are told apart by colour-blind readers too.

Matrices: Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
Deficiency", IEEE TVCG 15(6), 2009, severity 1.0, for linear RGB. Difference: CIE76 in CIELAB under D65.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.records.run_folder import RunFolder
from swarm.report import palette
from swarm.report.analysis.charts import BLUE, GRAY, SALMON, TTL_COLORS
from swarm.report.run.page import write_report

SEEN_BY = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
"""Of linear sRGB (IEC 61966-2-1)."""
APART_LEAST = 10.0
TIERS, WRITTEN = list(palette.TIERS.values()), list(palette.WRITTEN.values())
LINES = {
    "runs": palette.RUNS,
    "quantiles": (palette.OUTPUT, palette.RUNS[1]),
    "hit rate": (palette.NEW, palette.IDEAL),
    "agents": (palette.RUNS[0], palette.RUNS[4], palette.NEW),
    "throughput": (palette.CACHED, palette.NEW, palette.OUTPUT),
    "memories held": (*TIERS, palette.CACHED),
    "memories read and written": (*TIERS[1:], *WRITTEN[1:]),
    "TTLs": TTL_COLORS,
    "gaps": (SALMON, BLUE),
    "eviction": (SALMON, BLUE, GRAY),
}
NAMED = {"salmon": "#fa8072"}


def linear(color: str) -> np.ndarray:
    """Return a colour's linear RGB, each from 0 to 1."""
    color = NAMED.get(color, color)
    coded = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def lab(color: str, seen_by: str) -> np.ndarray:
    """Return CIELAB of a colour as somebody sees it."""
    xyz = XYZ @ np.clip(SEEN_BY[seen_by] @ linear(color), 0, 1)
    of_white = xyz / XYZ.sum(axis=1)
    x, y, z = np.where(of_white > (6 / 29) ** 3, np.cbrt(of_white), of_white * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(colors: Sequence[str], seen_by: str) -> dict[tuple[str, str], float]:
    """Return CIE76 differences of each two colours."""
    labs = {color: lab(color, seen_by) for color in colors}
    return {two: float(np.linalg.norm(labs[two[0]] - labs[two[1]])) for two in combinations(colors, 2)}


@pytest.mark.parametrize("seen_by", SEEN_BY)
@pytest.mark.parametrize("name", LINES)
def test_lines_of_one_chart_are_told_apart(name: str, seen_by: str) -> None:
    assert {two: by for two, by in apart(LINES[name], seen_by).items() if by < APART_LEAST} == {}


def line_colors(part: Any) -> Iterator[tuple[str, ...]]:
    """Yield the colours of each chart of lines in a specification."""
    if isinstance(part, list):
        for each in part:
            yield from line_colors(each)
    elif isinstance(part, dict):
        mark = part.get("mark")
        if (mark["type"] if isinstance(mark, dict) else mark) == "line":
            yield tuple(part["encoding"].get("color", {}).get("scale", {}).get("range", ()))
        for key, each in part.items():
            if key != "datasets":
                yield from line_colors(each)


def test_lines_of_a_run_s_page_are_told_apart(sample_run: RunFolder, tmp_path: Path) -> None:
    text = write_report([sample_run], tmp_path).read_text(encoding="utf-8")
    found = set(line_colors(json.loads(text.split("const specs=")[1].split(",rooms={}")[0])))
    assert (palette.NEW, palette.IDEAL) in found
    alike = [
        (two, seen_by)
        for colors in found
        for seen_by in SEEN_BY
        for two, by in apart(colors, seen_by).items()
        if by < APART_LEAST
    ]
    assert alike == []


@pytest.mark.parametrize(
    ("color", "expected"),
    [("#ffffff", (100, 0, 0)), ("#ff0000", (53.24, 80.09, 67.20)), ("#0000ff", (32.30, 79.19, -107.86))],
)
def test_lab_is_that_of_the_standard(color: str, expected: tuple[float, float, float]) -> None:
    assert lab(color, "all cones") == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_grays_stay_gray(seen_by: str) -> None:
    assert np.abs(lab("#808080", seen_by)[1:]).max() < 0.1


def test_the_colours_of_the_talk_stay() -> None:
    assert (palette.NEW, palette.CACHED, palette.OUTPUT) == ("salmon", "#9aa1ab", "#3d7fd6")
    assert (SALMON, GRAY, BLUE) == ("#fa8072", "#b3b3b3", "#4c78a8")
