"""What a run exports has the names that the docs and the dashboard say, and the values that it reported."""

from __future__ import annotations

import json
import re
from pathlib import Path

from swarm.measure.metric_names import exported

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}
NAMES = {name + part for name, kind in exported().items() for part in PARTS[kind]}


def queries() -> list[str]:
    """Return what the dashboard asks Prometheus."""
    board = json.loads((ROOT / "deploy" / "grafana.json").read_text())
    variables = [each["definition"] for each in board["templating"]["list"] if each["type"] == "query"]
    return [*variables, *(target["expr"] for panel in board["panels"] for target in panel["targets"])]


def test_the_dashboard_asks_for_names_that_are_exported() -> None:
    asked = {name for query in queries() for name in re.findall(r"\bray_\w+", query)}
    assert asked - NAMES == set()


def test_the_dashboard_shows_every_metric() -> None:
    asked = {name for query in queries() for name in re.findall(r"\bray_\w+", query)}
    assert {name.removesuffix("_bucket") for name in asked} == set(exported())


def test_counters_are_asked_for_their_rate_and_histograms_for_quantiles() -> None:
    for query in queries():
        counters = [name for name in re.findall(r"\bray_\w+", query) if exported().get(name) != "gauge"]
        assert query.count("rate(ray_") == len(counters)


def test_the_page_names_what_is_exported() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    said = set(re.findall(r"\bray_swarm_\w+", page))
    assert said == set(exported())
