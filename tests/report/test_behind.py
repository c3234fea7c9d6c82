"""The tables behind charts: made on opening, from what the chart has, and closed until then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import pytest

from swarm.records.run_folder import RunFolder
from swarm.report.behind import BEHIND, BEHIND_STYLE, ROWS_MAX
from swarm.report.document import page, place, section
from swarm.report.run.page import write_report

CHROMIUM = Path("/usr/bin/chromium")
POINTS = 450
ADDED_BYTES_MAX = 3000


def drawn(name: str = "lines", label: str = "") -> str:
    """Return a page of one chart: two lines of 225 points, one of which is unknown."""
    rows = pd.DataFrame(
        {
            "at_s": [at / 2 for at in range(POINTS // 2)] * 2,
            "share": [None, *(at / POINTS for at in range(1, POINTS))],
            "series": ["observed"] * (POINTS // 2) + ["ideal"] * (POINTS // 2),
        }
    )
    tips = [
        "series:N",
        alt.Tooltip("at_s:Q", title="time (s)", format=",.1f"),
        alt.Tooltip("share:Q", title="hit rate", format=".1%"),
    ]
    chart = (
        alt.Chart(rows, width=300).mark_line().encode(x="at_s:Q", y="share:Q", color="series:N", tooltip=tips)
    )
    return page("A page", [section("Hit rate", place(name, label))], {name: chart}, whole="windows.parquet")


def test_the_page_has_the_data_once_and_no_table() -> None:
    made = drawn()
    assert made.count('"series":"observed"') == POINTS // 2
    body = made.split("<main>")[1].split("</main>")[0]
    assert "<table" not in body
    assert "<details" not in body
    assert 'WHOLE="windows.parquet"' in made


def test_a_page_grows_by_less_than_3_kb_whatever_its_charts() -> None:
    assert len((BEHIND + BEHIND_STYLE).encode()) < ADDED_BYTES_MAX


def test_a_page_without_charts_has_no_script() -> None:
    assert BEHIND_STYLE not in page("A page", ["<h1>A page</h1>"], {}, whole="windows.parquet")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a browser."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.is_file():
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


def shown(browser: Any, path: Path) -> Any:
    """Return a tab with a page whose charts are drawn."""
    tab = browser.new_page()
    tab.goto(path.resolve().as_uri())
    tab.wait_for_function(
        "[...document.querySelectorAll('.chart[id]')].every(each => each.querySelector('svg'))",
        timeout=60_000,
    )
    return tab


def test_a_reader_opens_the_table_by_keyboard(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(drawn(), encoding="utf-8")
    tab = shown(browser, path)
    assert tab.locator("details.figures[open]").count() == tab.locator(".figures table").count() == 0
    tab.locator(".figures summary").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".figures table")
    assert tab.locator(".figures caption").inner_text() == (
        "Hit rate: 150 of the chart's 449 rows, one in 3. All figures: windows.parquet."
    )
    assert tab.locator(".figures th[scope=col]").all_inner_texts() == ["series", "time (s)", "hit rate"]
    assert tab.locator(".figures th[scope=row]").count() == 150 <= ROWS_MAX
    rows = tab.locator(".figures tr").all_inner_texts()
    assert rows[1].split("\t") == ["observed", "0.5", "0.2%"]
    assert rows[-1].split("\t")[0] == "ideal"
    tab.emulate_media(media="print")
    assert not tab.locator(".figures table").is_visible()
    tab.close()


def test_every_chart_of_a_run_has_figures(browser: Any, sample_run: RunFolder, tmp_path: Path) -> None:
    tab = shown(browser, write_report([sample_run], tmp_path))
    tab.evaluate("document.querySelectorAll('.figures').forEach(each => { each.open = true })")
    tab.wait_for_timeout(500)
    charts = tab.locator(".chart[id]").count()
    assert tab.locator(".figures").count() == charts > 5
    assert tab.locator(".figures:not(:has(td))").count() == 0
    assert tab.locator(".figures:has(td)").count() == charts
    cells = tab.locator(".figures td").all_inner_texts()
    assert [cell for cell in cells if "NaN" in cell or "undefined" in cell or "null" in cell] == []
    tab.close()
