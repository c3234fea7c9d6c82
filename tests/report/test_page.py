"""A run's page: what it says, and that it asks no network for anything."""

import re
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from swarm.commands.report import report
from swarm.records.run_folder import RunFolder
from swarm.report.run.page import write_report


@pytest.fixture
def run_folder(sample_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A run's folder of the test's own."""
    shutil.copytree(sample_run.path, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


def test_the_page_is_whole_and_fetches_nothing(run_folder: RunFolder) -> None:
    text = write_report([run_folder], run_folder.path).read_text()
    assert "Token usage of a session" in text and "Effective TTFT" in text
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)
    assert {"session_timeline.png", "effective_ttft.png", "hit_rate.png"} <= {
        path.name for path in (run_folder.path / "charts").iterdir()
    }


def change(folder: RunFolder, **changes: Any) -> None:
    summary = {**folder.summary(), **changes}
    (folder.path / "summary.json").write_bytes(orjson.dumps(summary))


def test_an_invalid_run_says_so_at_its_top(run_folder: RunFolder) -> None:
    change(run_folder, valid=False, invalid_reasons=["host 0 was <starved>"])
    text = write_report([run_folder], run_folder.path).read_text()
    assert 0 < text.index("host 0 was &lt;starved&gt;") < text.index("Latencies")


def test_charts_over_time_say_once_that_they_hold_the_warm_up_too(run_folder: RunFolder) -> None:
    said = "tables go by due time: right of the warm-up there are requests, too, that were due in it."
    assert write_report([run_folder], run_folder.path).read_text().count(said) == 1
    change(run_folder, measured={"from_s": 0.0, "to_s": 900.0})
    assert said not in write_report([run_folder], run_folder.path).read_text()


def test_notes_stand_at_the_top_of_one_run_and_of_a_comparison(run_folder: RunFolder) -> None:
    change(run_folder, notes=["stopped by <SIGINT>"])
    for folders in ([run_folder], [run_folder, run_folder]):
        text = write_report(folders, run_folder.path).read_text()
        assert 0 < text.index("stopped by &lt;SIGINT&gt;") < text.index("Effective TTFT")


def test_runs_that_are_not_alike_are_told_before_any_figure(run_folder: RunFolder, tmp_path: Path) -> None:
    other = RunFolder.open(shutil.copytree(run_folder.path, tmp_path / "other"))
    change(other, mode="simulate" if run_folder.summary()["mode"] == "live" else "live")
    text = write_report([run_folder, other], tmp_path / "page").read_text()
    assert 0 < text.index("(other) are not alike") < text.index("<h2")


def test_failures_are_told_in_the_servers_words_with_the_remedy(run_folder: RunFolder) -> None:
    reason = {
        "class": "http_4xx",
        "count": 5,
        "status": 400,
        "example": "no <min_tokens>",
        "remedy": "do this",
    }
    change(run_folder, failures={"http_4xx": 5, "reset": 1}, failure_reasons=[reason])
    text = write_report([run_folder], run_folder.path).read_text()
    assert "no &lt;min_tokens&gt;" in text and "do this" in text and "reset" in text


def test_a_run_that_measured_nothing_has_a_page(run_folder: RunFolder) -> None:
    table = run_folder.requests()
    run_folder.write_requests(table.slice(0, 0))
    run_folder.write_windows(run_folder.windows().slice(0, 0))
    assert write_report([run_folder], run_folder.path).stat().st_size > 1000


def test_two_runs_side_by_side(
    run_folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = report([run_folder.path, run_folder.path], out=tmp_path / "both", fails_on_regression=True)
    assert code == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "both" / "report.html")
    assert "no difference" in (tmp_path / "both" / "report.html").read_text()


def test_notes_stand_above_the_figures(run_folder: RunFolder) -> None:
    change(run_folder, notes=["extrapolated: 32000 <tokens>"])
    text = write_report([run_folder], run_folder.path).read_text()
    assert 0 < text.index("extrapolated: 32000 &lt;tokens&gt;") < text.index("Latencies")
