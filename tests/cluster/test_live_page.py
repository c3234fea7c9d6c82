"""A live run with its page: followed, stopped from the page, and whole in the end."""

from __future__ import annotations

import re
import time
import urllib.request
from pathlib import Path

import orjson
import pytest

pytest.importorskip("uvicorn", reason="the extra `live` is not installed")


def asked(url: str, path: str, *, method: str = "GET") -> bytes:
    base, _, query = url.partition("/?")
    request = urllib.request.Request(f"{base}{path}?{query}", method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: bytes = answer.read()
    return content


@pytest.mark.slow
def test_a_run_is_watched_and_stopped_from_its_page(swarm_run, write_experiment, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, hosts__count=1, load__duration_s=300)
    run = swarm_run(str(experiment), "--live", "--out", str(tmp_path / "run"))
    told: list[str] = []
    assert run.process.stdout is not None
    while not (found := re.search(r"live page: (\S+)", told[-1] if told else "")):
        told.append(run.process.stdout.readline())
        assert told[-1], "".join(told)
    url = found[1]
    while (state := orjson.loads(asked(url, "/state"))["head"])["ended"] < 50:
        assert not state["is_gone"] and run.process.poll() is None
        time.sleep(0.5)
    assert state["agents"] == 24 and state["can_stop"]
    asked(url, "/stop", method="POST")
    code, text = run.end()
    assert code == 130, text
    assert text.strip().splitlines()[-1] == str(run.out)
    requests = orjson.loads((run.out / "summary.json").read_bytes())["requests"]
    assert requests["sent"] == requests["finished"] + requests["failed"] + requests["interrupted"] >= 50
    assert b"<html" in asked(url, "/report")
    assert not list(run.out.glob("progress.jsonl")) and not (run.out / ".stop").exists()
