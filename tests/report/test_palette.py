"""Colours of lines that share a chart are told apart by colour-blind readers too.

Matrices: Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
Deficiency", IEEE TVCG 15(6), 2009, severity 1.0, for linear RGB. Difference: CIE76 in CIELAB under D65.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from swarm.report import palette
from swarm.report.analysis.charts import BLUE, GRAY, SALMON, TTL_COLORS

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
LINES = {**palette.LINES, "TTLs": TTL_COLORS, "gaps": (SALMON, BLUE), "eviction": (SALMON, BLUE, GRAY)}
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
