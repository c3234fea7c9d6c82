"""Labels of axes and cells, as they are drawn."""

import re
from pathlib import Path

import altair as alt
import pandas as pd
import pytest

from swarm.report.charts import spec_of, time_axis, write_picture
from swarm.report.compare.comparison import SHOWN
from swarm.report.run.charts import agent_ticks
from swarm.report.theme import TOKENS


def labels(chart: alt.Chart, folder: Path) -> list[str]:
    """Return the texts of a picture."""
    write_picture(chart, folder / "chart.svg", "svg")
    return re.findall(r"<text[^>]*>([^<]+)</text>", (folder / "chart.svg").read_text())


@pytest.mark.parametrize(
    ("end_s", "drawn"),
    [
        (60, ["0", *(f"{at} s" for at in range(5, 61, 5))]),
        (179, ["0", *(f"{at} s" for at in range(15, 166, 15))]),
        (250, ["0", "1 min", "2 min", "3 min", "4 min"]),
        (900, ["0", *(f"{at} min" for at in range(2, 15, 2))]),
        (7000, ["0", *(f"{at} min" for at in range(10, 111, 10))]),
        (9000, ["0", "0.5 h", "1 h", "1.5 h", "2 h", "2.5 h"]),
        (86400, ["0", *(f"{at} h" for at in range(2, 25, 2))]),
    ],
)
def test_times_stand_at_whole_steps_of_one_unit(end_s: float, drawn: list[str], tmp_path: Path) -> None:
    frame = pd.DataFrame({"at_s": [0.0, end_s]})
    assert labels(alt.Chart(frame, width=860).mark_line().encode(x=time_axis(None)), tmp_path) == drawn


def test_amounts_below_one_are_plain(tmp_path: Path) -> None:
    axis = alt.Axis(labelExpr=TOKENS, values=[0, 0.3, 0.8, 1, 500, 8000, 2e6])
    frame = pd.DataFrame({"tokens": [0, 2e6]})
    y = alt.Y("tokens:Q", axis=axis, title=None, scale=alt.Scale(type="symlog"))
    chart = alt.Chart(frame).mark_point().encode(y=y)
    assert labels(chart, tmp_path) == ["0", "0.3", "0.8", "1", "500", "8k", "2M"]


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("s", -1.43e-8, "0 s"),
        ("s", -2e-6, "-2 µs"),
        ("share", -1e-5, "0.0 %"),
        ("share", -0.01, "-1.0 %"),
        ("per_s", -1e-17, "0 /s"),
    ],
)
def test_a_difference_that_rounds_to_nothing_has_no_sign(unit: str, value: float, text: str) -> None:
    assert SHOWN[unit](value) == text


def test_a_long_session_is_drawn_whole() -> None:
    frame = pd.DataFrame({"at_s": range(7000)})
    spec = spec_of(alt.Chart(frame).mark_point().encode(x="at_s:Q"))
    (rows,) = spec["datasets"].values()
    assert len(rows) == 7000


@pytest.mark.parametrize(
    ("agents", "ticks"),
    [
        ([22, 33, 40, 44, 50, 60], [22, 33, 40, 44, 50, 60]),
        ([40, 41, 42, 60], [40, 41, 42, 60]),
        ([500, 500, 502, 900], [500, 900]),
        ([4, 8, 30], [4, 8, 16]),
    ],
)
def test_an_axis_of_agents_is_marked_by_powers_of_two_or_by_levels(
    agents: list[int], ticks: list[float]
) -> None:
    assert agent_ticks(agents) == ticks
