"""What analyses and fits say first, and their pictures."""

from pathlib import Path
from typing import Any

import altair as alt
import pytest

from swarm.report.analysis.answer import answers, cost, remarks, size, ttl
from swarm.report.charts import write_pictures
from swarm.report.fit.page import answer

POINT: dict[str, Any] = {"n": 4, "p50": 10.0, "p95": 300.0, "p99": 500.0}
BY_TTL = ("ttl_s", "hit_rate", "reprefill_mean", "reprefill_max", "working_set_peak_tokens")
KEPT = ((60, 0.5, 4.2, 9, 1000), (3600, 0.9, 1.1, 2, 8000), (86400, 0.9, 1.0, 1, 9000))
ANALYSIS: dict[str, Any] = {
    "sessions": 2, "requests": 40, "input_tokens": 4_000_000,
    "ttl": [dict(zip(BY_TTL, row, strict=True)) for row in KEPT],
    "cost": {
        "currency": "USD", "uncached": 100.0,
        "ttl": [
            {"ttl_s": 60.0, "cost": 80.0, "share_of_uncached": 0.8},
            {"ttl_s": 3600.0, "cost": 30.0, "share_of_uncached": 0.3},
            {"ttl_s": None, "cost": None, "share_of_uncached": None},
        ],
    },
    "inter_arrival_s": POINT, "input_tokens_per_request": POINT, "output_tokens_per_request": POINT,
}  # fmt: skip
SIZES = [
    {"capacity_tokens": tokens, "hit_rate": rate} for tokens, rate in ((100, 0.1), (1000, 0.5), (5000, 0.9))
]


def test_an_analysis_says_what_could_hit_and_what_keeps_it() -> None:
    said = answers(ANALYSIS, SIZES, 0.9)
    assert said[0].startswith("2 sessions with 40 requests") and "90.0 %" in said[0]
    assert said[1] == "Kept for a while after its last use, it hits: 1 min 50.0 %, 1 h 90.0 %"


def test_lifetimes_beyond_the_first_that_is_as_good_as_none_are_left_out() -> None:
    assert "24 h" not in ttl(ANALYSIS, 0.9)


def test_the_size_that_is_enough_is_named() -> None:
    assert (
        size(SIZES, 0.9)
        == "One LRU pool of 5,000 tokens comes within 1% of no limit; 1,000 tokens give half of its hits"
    )
    assert size(SIZES, 0.99) == "" and size([], 0.0) == ""


def test_the_cheapest_is_held_against_no_cache() -> None:
    assert cost(ANALYSIS["cost"]).endswith(
        "TTL of 1 h is the cheapest: 30 against 100 without a cache (30.0 %)"
    )
    assert cost({"currency": "USD", "uncached": 0.0, "ttl": []}) == ""


def test_each_chart_has_a_sentence() -> None:
    said = remarks(ANALYSIS, SIZES, 0.9)
    assert set(said) == {"working_set", "ttl", "capacity", "gaps", "sizes", "cost"}
    assert said["ttl"].startswith("With a TTL of 1 min a block is computed 4.2 times in the mean and 9 times")


@pytest.mark.parametrize(
    ("sampled", "ks", "text"),
    [
        (0.71, 0.05, "are as recorded: at most 1.0 points apart"),
        (0.60, 0.05, "differ from the recorded ones: at most 10.0 points apart"),
    ],
)
def test_a_fit_says_how_well_it_fits(sampled: float, ks: float, text: str) -> None:
    numbers = {"ttl": [{"ttl_s": 60.0, "hit_rate": [0.7, sampled]}], "lru": [], "ks": {"think time (s)": ks}}
    assert text in answer(numbers)[0]
    assert answer(numbers)[1] == "No distribution is more than 0.1 away from the recorded one."
    assert "think time (s) (0.30)" in answer({**numbers, "ks": {"think time (s)": 0.3}})[1]


def test_a_picture_is_svg_and_png_with_title_and_source(tmp_path: Path) -> None:
    chart = alt.Chart(alt.Data(values=[{"x": 1, "y": 2}])).mark_point().encode(x="x:Q", y="y:Q")
    charts = {"one": chart}
    write_pictures(
        tmp_path / "charts", charts, kinds=("png", "svg"), titles={"one": "A title"}, source="run 7"
    )
    text = (tmp_path / "charts" / "one.svg").read_text()
    assert "A title" in text and "run 7" in text
    assert (tmp_path / "charts" / "one.png").read_bytes().startswith(b"\x89PNG")
    write_pictures(tmp_path / "none", charts, kinds=(), titles={}, source="")
    assert not (tmp_path / "none").exists()
