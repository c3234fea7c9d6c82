"""Claude Code's logs: one request a message id, prompts that continue each other, sub-agents in a tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import TraceError
from swarm.workload.formats import fail, open_format, pass_over
from swarm.workload.recorded import RecordedSession

DAY = "2026-03-01T10:"


def at(second: float) -> str:
    return f"{DAY}{int(second) // 60:02d}:{second % 60:06.3f}Z"


def usage(plain: int, read: int, written: int, output: int, *, hour: bool = False) -> dict[str, Any]:
    split = {
        "ephemeral_5m_input_tokens": 0 if hour else written,
        "ephemeral_1h_input_tokens": written if hour else 0,
    }
    return {
        "input_tokens": plain,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "cache_creation": split,
        "output_tokens": output,
    }


def person(uuid: str, second: float, parent: str | None = None, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": "words"}
    return {
        "type": "user",
        "uuid": uuid,
        "parentUuid": parent,
        "timestamp": at(second),
        "message": message,
        **more,
    }


def reply(
    uuid: str,
    second: float,
    parent: str | None,
    name: str,
    tokens: dict[str, Any],
    tool: str = "",
    **more: Any,
) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": "x"}]
    if tool:
        content = [{"type": "tool_use", "id": tool, "name": "Task", "input": {"subagent_type": "Explore"}}]
    message = {
        "id": name,
        "model": "m",
        "role": "assistant",
        "content": content,
        "usage": tokens,
        "stop_reason": "x",
    }
    return {
        "type": "assistant", "uuid": uuid, "parentUuid": parent, "timestamp": at(second),
        "requestId": f"req-{name}", "message": message, **more,
    }  # fmt: skip


def result(uuid: str, second: float, parent: str, tool: str, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": tool, "content": "y"}]}
    return {
        "type": "user",
        "uuid": uuid,
        "parentUuid": parent,
        "timestamp": at(second),
        "message": message,
        **more,
    }


TWO = [
    person("u1", 0),
    reply("a1", 3, "u1", "m1", usage(4, 2048, 1000, 1), "t1"),
    {"type": "progress", "uuid": "p1", "parentUuid": "a1", "timestamp": at(3.5)},
    # A second line of the same message: its usage is the final one.
    reply("a2", 4, "p1", "m1", usage(4, 2048, 1000, 50), "t2"),
    result("r1", 6, "a1", "t1"),
    result("r2", 9, "a2", "t2"),
    reply("a3", 12, "r2", "m2", usage(2, 3048, 500, 20)),
    person("u2", 72, "a3"),
    reply("a4", 75, "u2", "m3", usage(2, 3548, 100, 20)),
]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return path


def sessions(path: Path, format: str = "auto") -> list[RecordedSession]:
    opened = open_format(format)
    units = opened.units(opened.files([path], pass_over), pass_over)
    return [session for unit in units for session in opened.read_unit(unit, fail)]


def test_lines_of_one_message_are_one_request_with_the_last_usage(tmp_path: Path) -> None:
    (session,) = sessions(write(tmp_path / "s.jsonl", TWO))
    found = [(r.input_tokens, r.read_tokens, r.written_tokens, r.output_tokens) for r in session.requests()]
    assert found == [(3052, 2048, 1000, 50), (3550, 3048, 500, 20), (3650, 3548, 100, 20)]


def test_a_request_starts_when_the_last_line_before_it_was_there(tmp_path: Path) -> None:
    (session,) = sessions(write(tmp_path / "s.jsonl", TWO))
    one, two, three = session.requests()
    begun = one.t_s
    assert [(r.t_s - begun, r.api_s) for r in (one, two, three)] == [
        (0, pytest.approx(4)), (pytest.approx(9), pytest.approx(3)), (pytest.approx(72), pytest.approx(3)),
    ]  # fmt: skip
    assert [r.think_s for r in (one, two, three)] == [None, pytest.approx(5), pytest.approx(60)]
    assert [r.input_types for r in (one, two, three)] == [("text",), ("tool_result",), ("text",)]


def test_what_was_read_is_the_same_blocks_and_what_was_written_is_new(tmp_path: Path) -> None:
    (session,) = sessions(write(tmp_path / "s.jsonl", TWO))
    one, two, three = (list(request.hash_ids) for request in session.requests())
    assert one[: 3048 // 64] == two[: 3048 // 64]
    assert two[: 3548 // 64] == three[: 3548 // 64]
    assert not set(two[3048 // 64 :]) & set(one)
    assert [len(ids) for ids in (one, two, three)] == [3052 // 64, 3550 // 64, 3650 // 64]


@pytest.mark.parametrize(("wait_s", "keeps"), [(200, False), (400, True)])
def test_a_read_that_falls_short_is_new_content_within_the_ttl_and_an_expiry_after_it(
    tmp_path: Path, wait_s: float, keeps: bool
) -> None:
    later = reply("a5", 80 + wait_s, "u3", "m4", usage(2, 0, 4000, 5))
    (session,) = sessions(write(tmp_path / "s.jsonl", [*TWO, person("u3", 75 + wait_s, "a4"), later]))
    *_, before, after = (list(request.hash_ids) for request in session.requests())
    assert (before[: 3648 // 64] == after[: 3648 // 64]) is keeps
    assert bool(set(before) & set(after)) is keeps


def test_a_resumed_session_does_not_count_what_it_copies(tmp_path: Path) -> None:
    write(tmp_path / "b-first.jsonl", TWO)
    more = [*TWO, person("u9", 90, "a4"), reply("a9", 95, "u9", "m9", usage(2, 3648, 50, 7))]
    write(tmp_path / "a-resumed.jsonl", [person("u0", 60), *more])
    found = {session.id: len(list(session.requests())) for session in sessions(tmp_path)}
    assert found == {"b-first": 3, "a-resumed": 1}


def test_a_sub_agent_is_found_in_its_folder_with_its_kind(tmp_path: Path) -> None:
    write(tmp_path / "s.jsonl", [{**line, "sessionId": "s"} for line in TWO])
    inner = [
        person("v1", 3.2, isSidechain=True, agentId="abc", sessionId="s"),
        reply("b1", 5, "v1", "n1", usage(2, 0, 800, 9), isSidechain=True, agentId="abc", sessionId="s"),
    ]
    write(tmp_path / "s" / "subagents" / "agent-abc.jsonl", inner)
    (tmp_path / "s" / "subagents" / "agent-abc.meta.json").write_text('{"agentType": "Explore"}')
    (session,) = sessions(tmp_path)
    (agent,) = session.subagents()
    assert (agent.agent_id, agent.kind, len(agent.requests)) == ("abc", "Explore", 1)
    assert agent.t_s - next(session.requests()).t_s == pytest.approx(3.2)


def test_inline_side_chains_are_sub_agents(tmp_path: Path) -> None:
    inner = [
        person("v1", 3.2, isSidechain=True),
        reply("b1", 5, "v1", "n1", usage(2, 0, 800, 9), isSidechain=True),
        person("w1", 3.3, isSidechain=True),
        reply("c1", 6, "w1", "o1", usage(2, 0, 700, 9), isSidechain=True),
    ]
    (session,) = sessions(write(tmp_path / "s.jsonl", [*TWO, *inner]))
    assert sorted(agent.requests[0].written_tokens or 0 for agent in session.subagents()) == [700, 800]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input_tokens": -1}, "input_tokens: must be an integer"),
        ({"output_tokens": 2**60}, "output_tokens: must be an integer"),
        ({"cache_read_input_tokens": "7"}, "cache_read_input_tokens: must be an integer"),
    ],
)
def test_a_count_that_is_none_is_named_with_its_line(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    lines = [person("u1", 0), reply("a1", 3, "u1", "m1", usage(4, 2048, 1000, 1) | change)]
    with pytest.raises(TraceError, match=rf"s.jsonl: line 2: {reason}"):
        sessions(write(tmp_path / "s.jsonl", lines))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "type",
    "uuid",
    "parentUuid",
    "timestamp",
    "message",
    "isSidechain",
    "requestId",
    "toolUseResult",
    "payload",
)
USAGE = ("id", "usage", "content", "model", "stop_reason", "input_tokens", "info", "total_token_usage")


@pytest.mark.parametrize("format", ["claude_code", "codex"])
@given(
    lines=st.lists(
        st.dictionaries(
            st.sampled_from(KEYS), JSON | st.dictionaries(st.sampled_from(USAGE), JSON), max_size=6
        )
        | JSON,
        max_size=6,
    ),
    change=st.tuples(st.integers(0, len(TWO) - 1), st.sampled_from(KEYS), JSON),
)
def test_whatever_a_line_holds_is_read_or_named(
    tmp_path_factory, format: str, lines: list[Any], change
) -> None:
    place, key, value = change
    changed = [dict(line) for line in TWO]
    changed[place][key] = value
    folder = tmp_path_factory.mktemp("any")
    for number, content in enumerate((lines, changed)):
        path = folder / f"{number}.jsonl"
        path.write_text("\n".join(json.dumps(line) for line in content))
        opened = open_format(format)
        for unit in opened.units([path], pass_over):
            for session in opened.read_unit(unit, lambda error: None):
                for request in session.requests():
                    assert len(request.hash_ids) == request.input_tokens // session.block_tokens


def test_a_last_line_that_is_still_being_written_ends_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", TWO)
    path.write_bytes(path.read_bytes() + b'{"type": "user", "uu')
    (session,) = sessions(path)
    assert len(list(session.requests())) == 3


def test_sessions_of_one_name_in_two_places_share_no_blocks_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "p" / "s.jsonl", TWO)
    text = (tmp_path / "p" / "s.jsonl").read_text().replace('"m1"', '"n1"').replace('"m2"', '"n2"')
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "s.jsonl").write_text(text.replace('"m3"', '"n3"').replace("req-m", "req-n"))
    one, two = sessions(tmp_path)
    first, second = (next(iter(each.requests())).hash_ids for each in (one, two))
    assert (list(first[:32]) == list(second[:32]), set(first[32:]) & set(second[32:])) == (True, set())
    assert (one.project, two.project) == ("p", "q")


def count(second: float, total: tuple[int, int, int]) -> dict[str, Any]:
    inputs, cached, outputs = total
    usage = {"input_tokens": inputs, "cached_input_tokens": cached, "output_tokens": outputs}
    info = {"total_token_usage": usage | {"total_tokens": inputs + outputs}}
    return {"timestamp": at(second), "type": "event_msg", "payload": {"type": "token_count", "info": info}}


@pytest.mark.parametrize(
    ("wait_s", "cached", "why"),
    [
        (5, 10_112, "reads that are what"),
        (5, 9_984, "reads up to 1,024"),
        (5, 1_024, "reads below that of a prompt that grew"),
        (400, 1_024, "reads below that after the TTL"),
    ],
)
def test_a_prompt_of_codex_that_grew_keeps_its_blocks_and_its_miss_has_a_cause(
    tmp_path: Path, wait_s: float, cached: int, why: str
) -> None:
    item = {
        "type": "response_item",
        "payload": {"type": "function_call_output"},
        "timestamp": at(11 + wait_s),
    }
    lines = [
        {"timestamp": at(0), "type": "session_meta", "payload": {"id": "s", "cwd": "/p"}},
        {"timestamp": at(1), "type": "turn_context", "payload": {"model": "m"}},
        count(10, (10_000, 0, 200)),
        item,
        count(20 + wait_s, (21_000, cached, 300)),
    ]
    opened = open_format("codex")
    (unit,) = opened.units([write(tmp_path / "rollout-1.jsonl", lines)], pass_over)
    (session,) = opened.read_unit(unit, fail)
    one, two = (list(request.hash_ids) for request in session.requests())
    assert one == two[: len(one)]
    assert any(sentence.startswith(why) for sentence in opened.tallies["codex"].inferred)
