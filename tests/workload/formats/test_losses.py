"""What a format cannot hold is named: all that does not come back, and nothing that does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from swarm.workload.formats import FORMATS, read_sessions, write_sessions
from swarm.workload.formats.held import REQUEST, SESSION, SUBAGENT
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent
from tests.workload.formats.recorded import request, session, subagent

TARGETS = {
    "weka": "weka",
    "mooncake": "mooncake:block_tokens=16,rows=cumulative",
    "multi_turn": "multi_turn",
    "dag_jsonl": "dag_jsonl",
}
"""How what is written in a format is read again."""

NAMED = {
    "session.id": ("name of a session",),
    "session.tool_tokens": ("tokens of a session's tools",),
    "session.system_tokens": ("tokens of a session's system prompt",),
    "session.project": ("project of a session",),
    "session.models": ("list of a session's models",),
    "session.has_words": ("words of a session", "words: the text is filler"),
    "subagent.t_s": ("start of a sub-agent",),
    "subagent.agent_id": ("name of a sub-agent",),
    "subagent.kind": ("kind of a sub-agent",),
    "subagent.duration_s": ("time that a sub-agent took",),
    "subagent.tool_tokens": ("tokens of a sub-agent's tools",),
    "subagent.system_tokens": ("tokens of a sub-agent's system prompt",),
    "subagent.requests": ("sub-agent made a session of its own", "sub-agent without requests"),
    "subagent.status": ("way in which a sub-agent ended",),
    "subagent.total_tokens": ("total tokens of a sub-agent",),
    "subagent.tool_uses": ("tool uses of a sub-agent",),
    "request.t_s": ("time of a request",),
    "request.model": ("name of the model",),
    "request.streaming": ("reply that was not streamed",),
    "request.hash_ids": ("block that an earlier request had", "partial last block"),
    "request.input_types": ("kinds of input",),
    "request.output_types": ("kinds of output",),
    "request.stop": ("reason to stop",),
    "request.api_s": ("time that the request took",),
    "request.think_s": ("think time",),
    "request.ttft_s": ("time to the first token",),
    "request.read_tokens": ("count of input that was read from a cache",),
    "request.written_tokens": ("count of input that was written to a cache",),
    "request.written_ttl_s": ("TTL of what was written to a cache",),
}
"""How the loss of each field is told."""

BESIDES = (
    "words: the text is filler",
    "session of rows that each hold the whole prompt",
    "size of blocks",
    "context that lost something",
    "session without requests",
    "request without input",
)
"""What is told of no field: of a whole part, of how a file is read, of what is added."""


def full(t_s: float, ids: list[int], tail: int, think_s: float) -> RecordedRequest:
    cached = {"read_tokens": 16, "written_tokens": 3, "written_ttl_s": 300.0}
    return request(t_s, ids, tail, streaming=False, think_s=think_s, ttft_s=0.25, model="n", **cached)


FULL = session(
    full(1.0, [1, 2], 3, 1.0),
    replace(
        subagent(2.5, full(0.5, [7], 1, 0.5), full(5.0, [7, 8, 9], 2, 3.0)),
        kind="Plan",
        duration_s=12.0004,
        status="failed",
        total_tokens=0,
    ),
    full(20.25, [1, 2, 3, 4], 1, 0.0),
    full(60.0, [1, 2, 3, 5], 2, 38.25),
)
"""Every field has something to say, and the context is cut after it has grown."""

PLAIN = {"model": "", "input_types": (), "output_types": (), "stop": None, "api_s": None}
BARE = session(
    request(0.0, [1, 2], 3, **PLAIN),
    request(9.0, [1, 2, 3], 9, think_s=9.0, **PLAIN),
    tool_tokens=0,
    system_tokens=0,
    models=(),
)
"""A conversation that grew, of which nothing but sizes and times is known."""

CALLED = replace(
    BARE,
    entries=(
        BARE.entries[0],
        RecordedSubagent(0.0, "one/1", "dag", 3.0, 0, 0, (request(3.0, [7], think_s=3.0, **PLAIN),)),
        BARE.entries[1],
    ),
)
"""The same with a sub-agent such as a DAG has."""

SESSIONS = {
    "full": [FULL],
    "bare": [BARE],
    "called": [CALLED],
    "words": [replace(BARE, has_words=True)],
    "twice": [BARE, replace(BARE, source="b.json", namespace="local/b.json")],
    "shared": [replace(each, namespace="global/16") for each in (BARE, replace(BARE, id="b"))],
    "tails": [replace(BARE, entries=(request(0.0, [1, 2, 3], -13, **PLAIN),) * 2)],
    "empty": [BARE, session(id="b", tool_tokens=0, system_tokens=0, models=())],
    "idle": [replace(BARE, entries=(*BARE.entries, RecordedSubagent(1.0, "", "", None, 0, 0, ())))],
    "late": [replace(BARE, entries=tuple(replace(e, t_s=e.t_s + 5) for e in BARE.entries))],
    "no input": [replace(BARE, entries=(*BARE.entries, request(20.0, [], think_s=None, **PLAIN)))],
}


def agents(
    sessions: Iterable[RecordedSession],
) -> list[tuple[str, RecordedSubagent | None, list[RecordedRequest]]]:
    """Return the agents with requests: session, what is said of a sub-agent, requests in absolute time."""
    found = []
    for each in sessions:
        main = [entry for entry in each.entries if isinstance(entry, RecordedRequest)]
        found.append((each.id, None, main))
        for entry in each.subagents():
            moved = [replace(request, t_s=entry.t_s + request.t_s) for request in entry.requests]
            found.append((each.id, entry, moved))
    kept = [(name, sub, [r for r in requests if r.input_tokens]) for name, sub, requests in found]
    return [agent for agent in kept if agent[2]]


def joined(sessions: Iterable[RecordedSession]) -> list[RecordedSession]:
    """Return the conversations of multi_turn with what goes on with one of them beside it."""
    whole: dict[str, RecordedSession] = {}
    for each in sessions:
        base = each.id.partition("~")[0]
        before = whole.get(base)
        whole[base] = each if before is None else replace(before, entries=(*before.entries, *each.entries))
    return list(whole.values())


def shares(sessions: Iterable[RecordedSession]) -> set[tuple[int, int, int]]:
    """Return (request, earlier request, how many leading blocks they share), partial ones included."""
    seen: list[tuple[str, tuple[int, ...]]] = []
    found = set()
    for each in sessions:
        for _, _, requests in agents([each]):
            for asked in requests:
                ids = tuple(asked.hash_ids)
                for place, (space, other) in enumerate(seen):
                    pairs = zip(ids, other, strict=False)
                    same = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(ids), len(other)))
                    if space == each.namespace and same:
                        found.add((len(seen), place, same))
                seen.append((each.namespace, ids))
    return found


def differ(ours: object, theirs: object) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return abs(ours - theirs) > 1e-3
    return bool(ours != theirs)


def lost(ours: list[RecordedSession], theirs: list[RecordedSession], format: str) -> set[str]:
    """Return the fields with something to say that did not come back."""
    back = joined(theirs) if format == "multi_turn" else theirs
    gone = {"request.hash_ids"} if shares(ours) - shares(back) else set()
    gone |= {f"session.{name}" for each in ours for name in of_session(each, back, format)}
    if format != "weka":
        gone |= {"session.id"} if len({each.id for each in ours}) != len(ours) else set()
        gone |= {"subagent.requests" for each in ours for entry in each.subagents() if not entry.requests}
    for (_, sub, requests), (_, other_sub, others) in zip(agents(ours), agents(back), strict=True):
        if sub is not None:
            names = [name for name in (*SUBAGENT, "t_s", "requests") if said(sub, name)]
            gone |= {f"subagent.{name}" for name in names if another(sub, other_sub, name)}
        for asked, read in zip(requests, others, strict=True):
            assert (asked.input_tokens, asked.output_tokens) == (read.input_tokens, read.output_tokens)
            names = [name for name in (*REQUEST, "t_s", "think_s") if said(asked, name)]
            gone |= {f"request.{name}" for name in names if another(asked, read, name)}
    return gone


def of_session(ours: RecordedSession, back: list[RecordedSession], format: str) -> list[str]:
    """Return the lost fields of a session; none of one without requests, which is named as a whole."""
    if format != "weka" and not list(ours.requests()):
        return []
    theirs = next((each for each in back if each.id == ours.id), None)
    # Text formats are read as words, but those that are written are filler.
    filler = ["has_words"] if ours.has_words and format in ("multi_turn", "dag_jsonl") else []
    return filler + [name for name in SESSION if said(ours, name) and another(ours, theirs, name)]


def another(ours: object, theirs: object, name: str) -> bool:
    if name == "requests":
        return theirs is None
    return theirs is None or differ(getattr(ours, name), getattr(theirs, name))


def said(owner: object, name: str) -> bool:
    """Say whether a field has something to say."""
    tables = {RecordedSession: SESSION, RecordedSubagent: SUBAGENT, RecordedRequest: REQUEST}
    field = tables[type(owner)].get(name)  # type: ignore[index]
    value = getattr(owner, name)
    return value not in field.nothing if field is not None else value is not None


@pytest.mark.parametrize("format", TARGETS)
@pytest.mark.parametrize("name", SESSIONS)
def test_what_does_not_come_back_is_named_and_nothing_else(tmp_path: Path, name: str, format: str) -> None:
    dest = tmp_path / "written.jsonl"
    _, losses = write_sessions(SESSIONS[name], dest, format)
    told = [line.partition(" x ")[2] for line in losses.lines()]
    gone = lost(SESSIONS[name], list(read_sessions(dest, TARGETS[format])), format)
    named = {field for field, names in NAMED.items() if any(line.startswith(names) for line in told)}
    if not any(each.has_words for each in SESSIONS[name]):
        named.discard("session.has_words")
    assert named == gone
    phrases = (*BESIDES, *(phrase for names in NAMED.values() for phrase in names))
    assert [line for line in told if not line.startswith(phrases)] == []


def test_every_field_of_a_session_has_a_name_for_its_loss() -> None:
    always = {"session.source", "session.namespace", "session.block_tokens", "session.entries"}
    always |= {"request.input_tokens", "request.output_tokens"}
    owners = {"session": RecordedSession, "subagent": RecordedSubagent, "request": RecordedRequest}
    every = {f"{owner}.{field.name}" for owner, kind in owners.items() for field in fields(kind)}
    assert every - always == set(NAMED)


def test_every_format_that_is_written_is_held_to_this() -> None:
    assert set(TARGETS) == {name for name, format in FORMATS.items() if format.write is not None}


@pytest.mark.parametrize(
    ("format", "line"),
    [
        ("mooncake", "1 x size of blocks: read it with block_tokens=64"),
        ("mooncake:block_tokens=512", "1 x session in blocks of 512 tokens instead of 64"),
        ("multi_turn", "1 x size of blocks: read it with block_tokens=64"),
        ("dag_jsonl:bytes_per_token=2", "1 x size of tokens: read it with bytes_per_token=2"),
        ("multi_turn:bytes_per_token=3.5", "1 x length of a text: a token more or less"),
    ],
)
def test_what_a_file_does_not_say_of_itself_is_named(tmp_path: Path, format: str, line: str) -> None:
    large = session(request(0.0, [1], input_tokens=65), block_tokens=64)
    _, losses = write_sessions([large], tmp_path / "a.jsonl", format)
    assert any(told.startswith(line) for told in losses.lines())


def test_words_of_a_source_are_named_where_lengths_alone_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text_input": "hello", "timestamp": 1}\n')
    for target in ("weka", "mooncake"):
        read = read_sessions(tmp_path / "a.jsonl", "mooncake")
        _, losses = write_sessions(read, tmp_path / target / "b.jsonl", target)
        assert losses.lines() == ["1 x words of a session: their lengths and equal blocks are kept"]


def test_blocks_that_a_later_conversation_no_longer_shares_are_counted(tmp_path: Path) -> None:
    _, losses = write_sessions([FULL], tmp_path / "a.jsonl", "multi_turn")
    # Of [1, 2, 3, 5] two blocks are in the first prompt [1, 2] and the third in a later one alone.
    assert "1 x block that an earlier request had: its text is another" in losses.lines()


def test_blocks_without_ids_are_named_where_texts_share_them(tmp_path: Path) -> None:
    nameless = session(request(0.0, [], input_tokens=40), request(9.0, [], input_tokens=90))
    _, losses = write_sessions([nameless], tmp_path / "a.jsonl", "multi_turn")
    assert "2 x block without an id: the next turn's text shares it" in losses.lines()
