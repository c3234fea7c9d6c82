"""`swarm analyze` as its users call it, against results of an independent implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from swarm.cli import app


def analyze(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    target = tmp_path / "result.json"
    result = CliRunner().invoke(app, ["analyze", *arguments, "--json", str(target)])
    assert result.exit_code == 0, (result.output, result.exception)
    content: dict[str, Any] = json.loads(target.read_bytes())
    return content


ROWS = [(0, [1, 2, 3]), (4_000, [1, 2, 4]), (4_000, [9]), (65_000, [1, 2, 4, 5]), (200_500, [9])]


def mooncake(path: Path, *, start_ms: int) -> Path:
    """Write a small Mooncake trace that begins at a time."""
    rows = [
        {"timestamp": start_ms + at_ms, "input_length": 512 * len(ids), "output_length": 7, "hash_ids": ids}
        for at_ms, ids in ROWS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("start_ms", [86_400_000, 1_788_000_000_000])
def test_a_trace_that_begins_later_has_the_same_analysis(tmp_path: Path, start_ms: int) -> None:
    options = ("--format", "mooncake", "--ttl", "10,60,inf", "--capacity", "1024,inf")
    at_zero = analyze(tmp_path, str(mooncake(tmp_path / "zero.jsonl", start_ms=0)), *options)
    later = analyze(tmp_path, str(mooncake(tmp_path / "later.jsonl", start_ms=start_ms)), *options)
    assert later == at_zero
    assert at_zero["span_s"] == 200.5
    # By hand, TTL 10 s: 1 and 2 for 14 s and 10 s, 4 for 20 s, 3, 5 and 9 for 10 s each.
    held_s = 2 * (14 + 10) + 20 + 3 * 10
    assert at_zero["ttl"][0]["working_set_mean_tokens"] == pytest.approx(512 * held_s / 200.5)


def test_a_clock_that_jumped_is_told(tmp_path: Path) -> None:
    options = ("--format", "mooncake", "--ttl", "60", "--capacity", "inf")
    path = mooncake(tmp_path / "zero.jsonl", start_ms=0)
    assert analyze(tmp_path, str(path), *options)["notes"] == []
    later = mooncake(tmp_path / "later.jsonl", start_ms=1_788_000_000_000)
    path.write_text(path.read_text() + later.read_text())
    (note,) = analyze(tmp_path, str(path), *options)["notes"]
    assert "lie 20,694 days, nearly all of the span: a clock jumped" in note


@pytest.fixture(scope="module")
def of_agents(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return analyze(tmp_path_factory.mktemp("agents"), str(shared_data / "agent-traces"))


@pytest.fixture(scope="module")
def truth(shared_data: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((shared_data / "agent-traces-truth.json").read_bytes())
    return content


@pytest.mark.parametrize("key", ["sessions", "requests", "subagents", "input_tokens", "output_tokens"])
def test_counts_of_agent_traces_are_exact(of_agents: dict[str, Any], truth: dict[str, Any], key: str) -> None:
    assert of_agents[key] == truth[key]


@pytest.mark.parametrize("index", range(4))
def test_ttl_results_of_agent_traces_equal_the_truth(
    of_agents: dict[str, Any], truth: dict[str, Any], index: int
) -> None:
    row, expected = of_agents["ttl"][index], truth["ttl"][index]
    digits = {"hit_rate": 8, "reprefill_mean": 6, "working_set_mean_tokens": 4}
    assert {key: round(row[key], digits[key]) if key in digits else row[key] for key in expected} == expected


@pytest.mark.parametrize("index", range(7))
def test_lru_curve_of_agent_traces_equals_the_truth(
    of_agents: dict[str, Any], truth: dict[str, Any], index: int
) -> None:
    row, expected = of_agents["lru"][index], truth["lru"][index]
    assert row | {"hit_rate": round(row["hit_rate"], 8)} == expected


@pytest.mark.parametrize("key", ["think_time_s", "inter_arrival_s", "requests_per_session"])
def test_distributions_of_agent_traces_equal_the_truth(
    of_agents: dict[str, Any], truth: dict[str, Any], key: str
) -> None:
    assert {name: of_agents[key][name] for name in truth[key]} == pytest.approx(truth[key], abs=1e-3)


def test_lru_curve_of_mooncake_equals_the_truth(shared_data: Path, tmp_path: Path) -> None:
    truth = json.loads((shared_data / "mooncake_conversation_truth.json").read_bytes())
    by_blocks = truth["lru_token_hit_rate"]
    sizes = [str(int(blocks) * 512) if blocks != "inf" else "inf" for blocks in by_blocks]
    file = str(shared_data / "mooncake_conversation.jsonl")
    result = analyze(tmp_path, file, "--format", "mooncake", "--capacity", ",".join(sizes))
    rates = [round(row["hit_rate"], 4) for row in result["lru"]]
    assert rates == list(by_blocks.values())


def session_file(folder: Path, name: str, requests: list[dict[str, Any]]) -> None:
    content = {"id": name, "block_size": 100, "hash_id_scope": "local", "requests": requests}
    (folder / f"{name}.json").write_text(json.dumps(content))


def turn(t: float, tokens: int) -> dict[str, Any]:
    ids = list(range(tokens // 100))
    return {"t": t, "type": "s", "model": "m", "in": tokens, "out": 10, "hash_ids": ids}


@pytest.fixture
def two_turns(tmp_path: Path) -> Path:
    """Return a folder with one session: 1,000 tokens, then a minute later the same and 1,050 more."""
    folder = tmp_path / "traces"
    folder.mkdir()
    session_file(folder, "a", [turn(0, 1000), turn(60, 2050)])
    return folder


def test_cost_follows_the_price_list(two_turns: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        "currency: EUR\ninput_per_mtok: 3\noutput_per_mtok: 15\ncache_read_per_mtok: 0.3\n"
        "cache_writes: [{ttl_s: 300, per_mtok: 3.75}]\n"
    )
    cost = analyze(tmp_path, str(two_turns), "--ttl", "59,60,300,inf", "--prices", str(prices))["cost"]
    written_all = (3000 * 3.75 + 50 * 3 + 20 * 15) / 1e6
    read_once = (2000 * 3.75 + 1000 * 0.3 + 50 * 3 + 20 * 15) / 1e6
    expected = [pytest.approx(written_all), pytest.approx(read_once), pytest.approx(read_once), None]
    assert [row["cost"] for row in cost["ttl"]] == expected


WITHOUT_ID = [{"t": 0.0, "in": 150, "hash_ids": [1]}, {"t": 60.0, "in": 350, "hash_ids": [1, 2, 3]}]
WITH_ID = [{"t": 0.0, "in": 150, "hash_ids": [1, 2]}, {"t": 60.0, "in": 150, "hash_ids": [1, 2]}]


@pytest.mark.parametrize(
    ("sessions", "read", "written", "plain"),
    [
        ([WITHOUT_ID], 100, 300, 100),
        ([WITH_ID], 150, 150, 0),
        ([WITHOUT_ID, WITH_ID], 250, 450, 100),
    ],
    ids=["without an id", "with an id", "both"],
)
def test_each_token_is_priced_by_its_own_block(
    tmp_path: Path, sessions: list[list[dict[str, Any]]], read: int, written: int, plain: int
) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    for name, requests in enumerate(sessions):
        session_file(folder, str(name), [{"type": "s", "out": 0, **each} for each in requests])
    row = analyze(tmp_path, str(folder), "--ttl", "300")["cost"]["ttl"][0]
    assert row["cost"] == pytest.approx((0.1 * read + 1.25 * written + plain) / 1e6)


def test_memory_for_a_hit_rate_takes_the_models_kv_bytes(two_turns: Path, tmp_path: Path) -> None:
    arguments = ("--model", "Llama-3.1-8B", "--target-hit-rate", "0.3,0.9")
    sizing = analyze(tmp_path, str(two_turns), *arguments)["sizing"]
    # 32 layers x keys and values x 8 heads x 128 x 2 bytes; 30 % of 3,050 tokens are 10 blocks of 100.
    assert sizing["kv_bytes_per_token"] == 32 * 2 * 8 * 128 * 2
    assert [row["capacity_tokens"] for row in sizing["targets"]] == [1000, None]


@pytest.mark.parametrize(("policy", "code"), [("fail", 1), ("skip", 0)])
def test_a_broken_file_is_named_and_fatal_or_skipped_as_asked(
    two_turns: Path, tmp_path: Path, policy: str, code: int
) -> None:
    (two_turns / "b.json").write_text('{"id": "b", "block_size": 100, "requests": [{"type": "s", "in": -1}]}')
    target = tmp_path / "result.json"
    arguments = ["analyze", str(two_turns), "--json", str(target), "--on-broken", policy]
    result = CliRunner().invoke(app, arguments)
    text = f"{result.stderr}{result.exception}"
    assert (result.exit_code, "b.json: requests[0]: in: must be an integer" in text) == (code, True)
    assert ("; --on-broken skip leaves such parts out" in text) is (policy == "fail")


def test_a_report_names_a_reason_once_for_all_parts_of_a_file(two_turns: Path, tmp_path: Path) -> None:
    good = json.loads(next(two_turns.glob("*.json")).read_text())
    bad = '{"id": "b", "block_size": 100, "requests": [{"type": "s", "in": -1}]}'
    lines = tmp_path / "many.jsonl"
    lines.write_text("\n".join([json.dumps(good), *[bad] * 40]))
    out = tmp_path / "report"
    options = ("--format", "weka", "--out", str(out), "--on-broken", "skip")
    result = CliRunner().invoke(app, ["analyze", str(lines), *options])
    page = (out / "report.html").read_text()
    assert result.exit_code == 0
    assert "Left out: 40 broken parts" in page
    assert page.count(f"<td>{lines}</td><td>40</td><td>line 2: requests[0]: in</td>") == 1


def test_a_model_that_is_not_there_is_named_as_it_was_asked_for(two_turns: Path) -> None:
    fault = CliRunner().invoke(app, ["analyze", str(two_turns), "--model", "GPT-9"]).exception
    assert str(fault).startswith("--model: 'GPT-9' is in no catalogue")


def test_without_a_file_the_answer_is_a_table(two_turns: Path) -> None:
    result = CliRunner().invoke(app, ["analyze", str(two_turns)])
    assert "1 session, 2 requests" in result.stdout


def test_a_report_needs_no_network(two_turns: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    result = CliRunner().invoke(app, ["analyze", str(two_turns), "--out", str(out)])
    page = (out / "report.html").read_text().replace("<link rel=icon href='data:,'>", "")
    assert (result.stdout.splitlines()[-1], "<script src" in page, "<link" in page) == (
        str(out),
        False,
        False,
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--ttl", "a"], "--ttl a"),
        (["--capacity", "-5"], "--capacity -5"),
        (["--target-hit-rate", "2"], "between 0 and 1"),
        (["--format", "nope"], "is unknown"),
        (["--on-broken", "maybe"], "auto, fail or skip"),
        (["--format", "weka:rows=sideways"], "is not understood"),
        (
            ["--block-size", "64"],
            "format 'weka:block_tokens=64': block_tokens means nothing",
        ),
        (
            ["--rows", "delta"],
            "format 'weka:rows=delta': rows means nothing where weka is read",
        ),
        (["--format", "mooncake:block_tokens=16", "--block-size", "32"], "block_tokens is stated twice"),
    ],
)
def test_a_wrong_option_says_what_is_allowed(two_turns: Path, arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(app, ["analyze", str(two_turns), *arguments])
    assert reason in str(result.exception).replace("one of auto, fail, skip", "auto, fail or skip")


def test_the_page_states_its_prices(tmp_path: Path) -> None:
    rows = [{"type": "s", "t": at_s, "in": 64, "out": 5, "hash_ids": [1]} for at_s in (0, 9)]
    trace = tmp_path / "one.json"
    trace.write_text(json.dumps({"id": "one", "block_size": 64, "requests": rows}))
    analyze(tmp_path, str(trace), "--out", str(tmp_path / "out"), "--model", "Llama-3.3-70B")
    said = "input 1, output 5, cache read 0.1, cache write for 5 min 1.25, cache write for 1 h 2."
    text = (tmp_path / "out" / "report.html").read_text()
    assert said in text and "a token without an id is plain input" in text
    assert "no size reaches it" in text
