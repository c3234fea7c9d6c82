"""A run for other programs: what they read of it is what its folder says."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from swarm.cli import app
from swarm.errors import UsageError
from swarm.records.run_folder import RunFolder
from swarm.report.export.junit import junit

EXPERIMENT = """
name: out
workload:
  kind: prompt_set
  prompts: 4
  prompt_tokens: 2000
  turns: 5
  output_tokens: 20
  think_s: {median: 1.0, sigma: 0.3}
load: {agents: 4, ramp_s: 1, warmup_s: 2, duration_s: 20, drain_s: 10}
fleet: {cost: {kind: simple, kv_capacity_tokens: 50000}}
slo:
  - {metric: ttft_s, quantile: 0.95, at_most: 10}
  - {metric: ttft_s, quantile: 0.5, at_most: 0.000001}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    (folder / "out.yaml").write_text(EXPERIMENT)
    result = CliRunner().invoke(app, ["simulate", str(folder / "out.yaml"), "--out", str(folder / "run")])
    assert result.exit_code == 99, result.output
    return folder / "run"


def exported(run: Path, kind: str, out: Path) -> Path:
    result = CliRunner().invoke(app, ["export", str(run), "--to", kind, "--out", str(out)])
    assert (result.exit_code, result.stdout.strip()) == (0, str(out)), result.output
    return out


def test_samples_end_at_what_the_windows_add_up_to(run: Path, tmp_path: Path) -> None:
    text = exported(run, "openmetrics", tmp_path / "run.om").read_text()
    # The library's stricter reader drops what a histogram has at its second time. This one reads ms.
    assert text.endswith("\n# EOF\n")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    windows = RunFolder.open(run).windows().to_pandas()
    last: dict[str, float] = {}
    for family in families.values():
        for sample in family.samples:
            last[sample.name + sample.labels.get("le", "")] = sample.value
    assert last["ray_swarm_sent_total"] == windows["sent"].sum()
    assert last["ray_swarm_prompt_tokens_total"] == windows["prompt_tokens"].sum()
    assert last["ray_swarm_ttft_s_bucket+Inf"] == last["ray_swarm_ttft_s_count"] == windows["finished"].sum()
    first_s = RunFolder.open(run).requests().to_pandas()
    mean_s = (first_s["first_token_s"] - first_s["sent_s"]).mean()
    assert last["ray_swarm_ttft_s_sum"] / last["ray_swarm_ttft_s_count"] == pytest.approx(mean_s)
    times = [float(sample.timestamp or 0) * 1e3 for sample in families["ray_swarm_open_requests"].samples]
    assert [late - soon for soon, late in pairwise(times)] == pytest.approx(
        windows["end_s"].diff()[1:].tolist(), abs=1e-5
    )


def test_tables_have_every_row_and_figure(run: Path, tmp_path: Path) -> None:
    out = exported(run, "csv", tmp_path / "tables")
    folder = RunFolder.open(run)
    with (out / "requests.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["intended_s"]) for row in rows] == folder.requests()["intended_s"].to_pylist()
    assert [row["parent"] for row in rows[:1]] == [""]
    with (out / "summary.csv").open() as file:
        figures = {row["key"]: row["value"] for row in csv.DictReader(file)}
    summary = folder.summary()
    assert float(figures["ttft_s.p95"]) == summary["ttft_s"]["p95"]
    assert (figures["valid"], figures["capacity"]) == ("true", "")


def test_verdicts_are_tests(run: Path, tmp_path: Path) -> None:
    root = ElementTree.parse(exported(run, "junit", tmp_path / "run.xml")).getroot()
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    failed = [(case.get("name"), case[0].get("message")) for case in suite.iter("testcase") if len(case)]
    assert [name for name, _ in failed] == ["ttft_s p50"]
    assert "the target is" in str(failed[0][1])


def test_what_xml_cannot_hold_is_no_fault(run: Path) -> None:
    summary: dict[str, Any] = RunFolder.open(run).summary()
    summary |= {
        "valid": False,
        "invalid_reasons": ["it said \x00 \x1b[1m <&> \ud800 \uffff"],
        "notes": ["\x07"],
    }
    (suite,) = ElementTree.fromstring(junit({"a": summary}))
    assert suite[0][0].get("message") == "it said ? ?[1m <&> ? ?"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "excel", "--out", "x"], "csv, junit, openmetrics"),
        (["{run}", "--to", "csv", "--out", "x"], "one run is expected, found 2"),
        (["--to", "csv", "--out", "{run}"], "absent or an empty folder"),
        (["--to", "junit", "--out", "{run}"], "a file is expected"),
    ],
)
def test_what_cannot_be_done_is_told(
    run: Path, arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [each.format(run=run) for each in arguments]
    with pytest.raises(UsageError, match=words):
        CliRunner().invoke(app, ["export", str(run), *filled], catch_exceptions=False)
    assert orjson.loads((run / "summary.json").read_bytes())["schema"] == 1
