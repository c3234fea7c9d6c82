"""Real logs: totals equal their own counts, and reads follow from the requests before them."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from swarm.workload.formats import fail, open_format, pass_over
from swarm.workload.formats.agent_logs.claude_code import SessionReader
from swarm.workload.formats.agent_logs.codex import read_rollout
from swarm.workload.formats.agent_logs.identity import identity_of, pairs_of
from swarm.workload.formats.agent_logs.logged import LoggedAgent, Tally

LOGS = Path(__file__).resolve().parents[5] / "shared" / "data" / "session-logs"
pytestmark = pytest.mark.skipif(not LOGS.is_dir(), reason="recorded sessions of agents are not here")
COUNTS = {"read": "cache_read_input_tokens", "written": "cache_creation_input_tokens"}


def counted(path: Path) -> Counter[str]:
    opened, found = open_format("auto"), Counter[str]()
    for unit in opened.units(opened.files([path], pass_over), pass_over):
        for session in opened.read_unit(unit, fail):
            for request in session.requests():
                found["requests"] += 1
                found["input"] += request.input_tokens
                found["read"] += request.read_tokens or 0
                found["written"] += request.written_tokens or 0
    return found


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(path.rglob("*.jsonl")) for line in file.open()]


@pytest.mark.parametrize("sample", ["spotter", "cctrace", "viewer", "tracelab", "agtrace"])
def test_totals_are_those_of_the_last_line_of_each_message(sample: str) -> None:
    last = {}
    for line in lines_of(LOGS / "claude-code" / sample):
        message = line.get("message") or {}
        if line.get("type") == "assistant" and "usage" in message and message.get("model") != "<synthetic>":
            last[message["id"]] = message["usage"]
    own = Counter(requests=len(last))
    for usage in last.values():
        own.update({name: usage.get(key, 0) for name, key in COUNTS.items()})
        own["input"] += sum(usage.get(key, 0) for key in ("input_tokens", *COUNTS.values()))
    assert counted(LOGS / "claude-code" / sample) == own


@pytest.mark.parametrize("sample", ["tracelab", "agtrace"])
def test_totals_of_codex_are_the_last_cumulative_ones(sample: str) -> None:
    own: Counter[str] = Counter()
    for file in sorted((LOGS / "codex" / sample).rglob("*.jsonl")):
        last = None
        for line in map(json.loads, file.open()):
            info = (line.get("payload") or {}).get("info") or {}
            total = info.get("total_token_usage")
            if total is not None and total != last:
                own["requests"] += 1
                last = total
        if last is not None:
            own.update(input=last["input_tokens"], read=last["cached_input_tokens"])
            own["written"] += last["input_tokens"] - last["cached_input_tokens"]
    assert counted(LOGS / "codex" / sample) == own


def agents() -> list[LoggedAgent]:
    reader = SessionReader(set(), Tally(), fail)
    found = []
    for file in sorted((LOGS / "claude-code").rglob("*.jsonl")):
        if "agent-sessions" not in file.parts:
            found += reader.agents(file)
    return found


def test_a_read_is_what_the_request_before_had_read_and_written() -> None:
    found = identity_of(agents())
    assert found.pairs > 400
    assert found.share is not None and found.share >= 0.95


def test_shuffled_reads_follow_from_nothing() -> None:
    chance = random.Random(1)
    found = agents()
    for agent in found:
        reads = [request.read_tokens for request in agent.requests]
        chance.shuffle(reads)
        for request, read in zip(agent.requests, reads, strict=True):
            request.read_tokens = read
    share = identity_of(found).share
    assert share is not None and share < 0.2


def test_six_of_eleven_reads_of_codex_lie_within_a_block_of_the_prediction() -> None:
    """The other five are prefixes of older requests: no rule of the request before gives them."""
    opened = open_format("codex")
    files = [LOGS / "codex" / name for name in ("tracelab/rollout.jsonl", "agtrace/codex_session.jsonl")]
    loops = [
        (before, after)
        for file in files
        for before, after in pairs_of(read_rollout(file, set(), Tally(), fail).requests)
        if after.opened_by == "tool"
    ]
    short = [(before.held_tokens - after.read_tokens) // 128 for before, after in loops]
    for unit in opened.units(opened.files(files, pass_over), pass_over):
        list(opened.read_unit(unit, fail))
    tally = opened.tallies["codex"]
    assert (len(short), short.count(0), short.count(1)) == (11, 2, 4)
    assert (tally.pairs, tally.exact) == (11, 4)


def spans_of(path: Path) -> list[dict[str, Any]]:
    return [span for file in sorted(path.rglob("*.json")) for span in json.loads(file.read_text())["spans"]]


def test_each_span_of_a_chat_is_one_request() -> None:
    own = [s for s in spans_of(LOGS / "otel" / "inference-perf") if s["name"].startswith("chat")]
    assert counted(LOGS / "otel" / "inference-perf")["requests"] == len(own) == 50


def test_spans_of_agents_and_tools_alone_are_no_requests() -> None:
    assert not counted(LOGS / "otel" / "agentsview")["requests"]


def test_totals_of_kimi_are_those_of_its_steps() -> None:
    own: Counter[str] = Counter()
    for line in lines_of(LOGS / "other" / "agent-sessions" / "kimi"):
        event = line.get("event") or {}
        if event.get("type") == "step.end":
            usage = event["usage"]
            own.update(requests=1, read=usage["inputCacheRead"], written=usage["inputCacheCreation"])
            own["input"] += sum(usage[name] for name in usage if name.startswith("input"))
    assert counted(LOGS / "other" / "agent-sessions" / "kimi") == own


def test_totals_of_gemini_are_those_of_its_replies() -> None:
    own: Counter[str] = Counter()
    for file in sorted((LOGS / "gemini").rglob("*.json*")):
        text = file.read_text()
        lines = (
            map(json.loads, text.splitlines())
            if file.suffix == ".jsonl"
            else json.loads(text).get("messages", [])
        )
        for line in lines:
            if "tokens" in line:
                own.update(requests=1, input=line["tokens"]["input"], read=line["tokens"]["cached"])
    own["written"] = 0
    assert counted(LOGS / "gemini") == own


@pytest.mark.parametrize(
    ("sample", "requests", "tokens"),
    [
        ("litellm", 2, 20),
        ("langfuse", 1, 10),
        ("openrouter", 1, 10),
        ("dynamo", 1, 128),
        ("opencode", 6, 17_420),
    ],
)
def test_single_records_are_counted_as_they_say(sample: str, requests: int, tokens: int) -> None:
    found = counted(LOGS / sample)
    assert (found["requests"], found["input"]) == (requests, tokens)
