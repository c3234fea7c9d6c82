"""Claude Code's logs: one request a message id, prompts that continue each other, sub-agents in a tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
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
@settings(deadline=None)
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


@pytest.mark.parametrize(
    ("line", "opened"),
    [
        ({}, "human"),
        ({"isMeta": True}, "notice"),
        ({"message": {"role": "user", "content": "<task-notification>done</task-notification>"}}, "notice"),
        ({"origin": {"kind": "task-notification"}}, "notice"),
        ({"origin": {"kind": "human"}}, "human"),
        ({"isCompactSummary": True}, "notice"),
        ({"message": {"role": "user", "content": "<command-name>/review</command-name>"}}, "human"),
    ],
)
def test_hooks_and_notifications_are_no_people(tmp_path: Path, line: dict[str, Any], opened: str) -> None:
    lines = [*TWO[:7], {**person("u2", 72, "a3"), **line}, TWO[8]]
    (session,) = sessions(write(tmp_path / "s.jsonl", lines))
    *_, last = session.requests()
    assert last.input_types == (("text",) if opened == "human" else ("tool_result", "notice"))


def test_a_commands_text_that_the_client_puts_in_is_a_persons(tmp_path: Path) -> None:
    command = person("u2", 72, "a3", message={"role": "user", "content": "<command-message>review"})
    lines = [
        *TWO[:7],
        command,
        person("u3", 72, "u2", isMeta=True),
        reply("a4", 75, "u3", "m3", usage(2, 3548, 100, 2)),
    ]
    (session,) = sessions(write(tmp_path / "s.jsonl", lines))
    assert [request.input_types for request in session.requests()][-1] == ("text",)


def test_a_text_that_had_waited_in_the_queue_is_no_wait_of_a_person(tmp_path: Path) -> None:
    taken = {"type": "queue-operation", "operation": "dequeue", "timestamp": at(71.9), "sessionId": "s"}
    (session,) = sessions(write(tmp_path / "s.jsonl", [*TWO[:7], taken, *TWO[7:]]))
    assert [request.input_types for request in session.requests()][-1] == ("tool_result", "notice")


def told_by(path: Path) -> tuple[list[RecordedSession], dict[str, int]]:
    opened = open_format("auto")
    units = opened.units(opened.files([path], pass_over), pass_over)
    found = [session for unit in units for session in opened.read_unit(unit, fail)]
    return found, dict(next(iter(opened.tallies.values())).missing)


def test_what_has_no_counts_is_said(tmp_path: Path) -> None:
    more = [
        {"type": "system", "subtype": "api_error", "timestamp": at(76), "uuid": "e1"},
        {"type": "system", "subtype": "compact_boundary", "timestamp": at(77), "uuid": "e2"},
        person("u7", 78, "a4", message={"role": "user", "content": "[Request interrupted by user]"}),
    ]
    _, missing = told_by(write(tmp_path / "s.jsonl", [*TWO, *more]))
    assert sorted(sentence.split(",")[0].split(":")[0] for sentence in missing) == [
        "attempts that failed",
        "requests that a person ended",
        "summaries of full contexts",
    ]


def test_a_summary_in_a_file_of_its_own_is_a_request_and_not_missing(tmp_path: Path) -> None:
    full = {"type": "system", "subtype": "compact_boundary", "timestamp": at(90), "uuid": "e2"}
    write(tmp_path / "s.jsonl", [*TWO, full])
    summary = reply("c1", 85, None, "mc", usage(2, 3648, 900, 400))
    write(tmp_path / "s" / "subagents" / "agent-acompact-1.jsonl", [summary])
    (session,), missing = told_by(tmp_path)
    *_, last = session.requests()
    assert (last.input_types, missing) == (("tool_result", "compaction"), {})
    *_, before, last = (list(request.hash_ids) for request in session.requests())
    assert last[: 3648 // 64] == before[: 3648 // 64]


def test_a_sub_agent_in_the_background_is_told_as_such(tmp_path: Path) -> None:
    launched = {"agentId": "abc", "isAsync": True, "status": "async_launched"}
    write(tmp_path / "s.jsonl", [*TWO[:4], result("r1", 6, "a1", "t1", toolUseResult=launched), *TWO[5:]])
    inner = [person("v1", 6), reply("b1", 50, "v1", "n1", usage(2, 0, 800, 9))]
    write(tmp_path / "s" / "subagents" / "agent-abc.jsonl", inner)
    (session,) = sessions(tmp_path)
    (agent,) = session.subagents()
    assert (agent.kind, agent.status) == ("Explore", "async_launched")


def test_an_inline_side_chain_has_the_kind_of_the_task_whose_prompt_it_begins_with(tmp_path: Path) -> None:
    task = reply("a1", 3, "u1", "m1", usage(4, 0, 1000, 1), "t1")
    task["message"]["content"][0]["input"]["prompt"] = "look around"
    words = {"role": "user", "content": "look around"}
    inner = [
        person("v1", 3.2, isSidechain=True, message=words),
        reply("b1", 5, "v1", "n1", usage(2, 0, 800, 9), isSidechain=True),
    ]
    (session,) = sessions(write(tmp_path / "s.jsonl", [person("u1", 0), task, *inner]))
    assert [agent.kind for agent in session.subagents()] == ["Explore"]


def test_lines_that_other_tools_left_without_type_and_ids_are_each_a_request(tmp_path: Path) -> None:
    lines = [
        {"timestamp": at(n), "sessionId": "s", "message": {"role": "assistant", "usage": usage(n, 0, 0, 1)}}
        for n in (1, 2, 3)
    ]
    (session,) = sessions(write(tmp_path / "s.jsonl", lines))
    assert [request.input_tokens for request in session.requests()] == [1, 2, 3]


@pytest.mark.parametrize(
    "stamp", [1_772_359_200, 1_772_359_200_000, 1_772_359_200_000_000, "1772359200", None]
)
def test_a_line_may_have_its_time_in_any_unit_or_none(tmp_path: Path, stamp: Any) -> None:
    lines = [TWO[0] | {"timestamp": 1_772_359_200}, TWO[1] | {"timestamp": stamp}]
    (session,) = sessions(write(tmp_path / "s.jsonl", lines))
    assert [request.t_s for request in session.requests()] == [1_772_359_200]


def test_a_line_that_was_cut_off_costs_itself_and_is_counted(tmp_path: Path) -> None:
    lines = [json.dumps(line) for line in TWO]
    path = tmp_path / "s.jsonl"
    path.write_text("\r\n".join([*lines[:5], lines[5][:40], "\0" * 99, *lines[6:]]))
    (session,), missing = told_by(path)
    assert (len(list(session.requests())), list(missing.values())) == (3, [2])
