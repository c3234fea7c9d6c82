"""A live run whose target cannot be used: an invalid run folder with its words and its trials."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted_server import listed, refused, scripted
from whole import command, lived, written

from swarm.records.run_folder import RunFolder

WORDS = "no credit left for key of team blue"
NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_target_that_cannot_be_used_leaves_its_words_in_the_run_folder(
    tmp_path: Path, is_there: bool
) -> None:
    folder = tmp_path / "run"
    with scripted(
        lambda asked: listed("m") if asked.method == "GET" else refused("402 Payment Required", WORDS)
    ) as url:
        urls = [url if is_there else NOWHERE]
        run = lived(folder, written(folder, workload={"kind": "synthetic"}, target={"urls": urls}))
    told = WORDS if is_there else "nothing listens there"
    assert run.code == 1
    assert told in run.said
    assert not run.summary["valid"]
    assert told in run.summary["invalid_reasons"][0]
    assert run.summary["requests"]["sent"] == run.summary["requests"]["failed"] == int(is_there)
    assert run.summary["failures"] == ({"http_4xx": 1} if is_there else {})
    assert [row["error_class"] for row in run.rows] == ["http_4xx"] * is_there
    assert told in (folder / "report.html").read_text(encoding="utf-8")
    assert RunFolder(folder).run()["begun"] is False


def test_its_folder_may_be_named_again_unless_it_holds_more(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    path = written(folder, workload={"kind": "synthetic"}, target={"urls": [NOWHERE]})
    assert [lived(folder, path).code for _ in range(2)] == [1, 1]
    resumed = command(folder, "run", "--resume", folder)
    assert (resumed.code, "never began" in resumed.said) == (2, True)
    (folder / "mine.txt").touch()
    assert lived(folder, path).code == 2
    assert (folder / "summary.json").exists()
