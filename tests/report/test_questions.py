"""Every part of a run's page that docs/questions.md names is there, and is linked from the page's top."""

import re
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest

from swarm.hit_names import LOST_TO
from swarm.records.run_folder import RunFolder
from swarm.records.tier_looks import TierLook, TierState, looks_table
from swarm.report.run.page import write_report

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
ONLY_SOMETIMES = {"Waiting for limits", "Cost", "Capacity"}
"""Parts that this run has nothing to show in."""


def named() -> list[str]:
    text = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    return sorted(set(re.findall(r"\*\*(.+?)\*\*", text)) - ONLY_SOMETIMES)


@pytest.fixture(scope="module")
def page(sample_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of a fleet that tells of its memories and of what was full."""
    summary = sample_run.summary()
    summary["cache"]["lost_to"] = {cause: summary["cache"]["lost_to"].get(cause) or 0.0 for cause in LOST_TO}
    summary["saturation"] = {
        "bound_by": "prefill",
        "resources": [{"name": "prefill", "share": 0.97, "told": "time in which 2 schedulers computed"}],
    }
    out = tmp_path_factory.mktemp("questions")
    folder = RunFolder.create(out / "run")
    for name in ("run.yaml", "requests.parquet", "windows.parquet"):
        (folder.path / name).write_bytes((sample_run.path / name).read_bytes())
    folder.write_tiers(looks_table([look(at_s) for at_s in np.linspace(0, 900, 20)]))
    (folder.path / "summary.json").write_bytes(orjson.dumps(summary))
    return write_report([folder], folder.path)


def look(at_s: float) -> TierLook:
    moved = int(at_s * 2**30)
    return TierLook(
        float(at_s),
        (
            TierState("hbm", 100, min(100, int(at_s)), 10, 0, 0, 0),
            TierState("dram", 1000, int(at_s), 0, moved, moved, moved // 10),
        ),
    )


def test_each_part_that_answers_a_question_is_on_the_page_and_one_click_away(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    heads = dict(re.findall(r"<section id='([^']*)'><h2>(.*?)</h2>", text))
    links = dict(re.findall(r"<a href='#([^']*)'>(.*?)</a>", text))
    assert links == heads
    assert set(named()) <= {name.replace("&#x27;", "'") for name in heads.values()}


@pytest.mark.slow
def test_a_click_leads_to_the_part_and_nobody_is_kept_out(page: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    if not CHROMIUM.is_file():
        pytest.skip(f"there is no {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(page.as_uri())
        tab.wait_for_function(
            "[...document.querySelectorAll('.chart[id]')].every(e => e.querySelector('svg'))"
        )
        for name in named():
            tab.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
            assert tab.get_by_role("heading", name=name, exact=True).is_visible()
        broken = [each["id"] for each in axe.Axe().run(tab).response["violations"]]
        browser.close()
    assert broken == []


def test_a_table_of_looks_has_what_was_moved_between_two_and_holds_a_restart(page: Path) -> None:
    before, after = look(10.0), look(5.0)
    table = looks_table([before, look(20.0), TierLook(30.0, after.tiers)])
    dram = table.filter(pa.compute.equal(table.column("tier"), "dram")).to_pylist()
    assert [row["read_bytes"] for row in dram] == [10 * 2**30, 5 * 2**30]
    assert [row["held_bytes"] for row in dram] == [20, 5]
