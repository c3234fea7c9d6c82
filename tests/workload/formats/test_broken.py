"""Whatever a file holds, a reader gives sessions that add up or an error with place and reason."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm.errors import TraceError
from swarm.workload.formats import FORMATS, open_format, read_sessions
from swarm.workload.recorded import RecordedSession

REQUEST = {"t": 0, "type": "s", "model": "m", "in": 40, "out": 2, "hash_ids": [1, 2], "think_time": 1.5}
SUBAGENT = {"t": 1, "type": "subagent", "agent_id": "a", "status": "completed", "requests": [REQUEST]}
VALID: dict[str, list[Any]] = {
    "weka": [{"id": "a", "block_size": 16, "hash_id_scope": "local", "requests": [REQUEST, SUBAGENT]}],
    "mooncake:rows=delta": [
        {"timestamp": 5, "input_length": 600, "output_length": 3, "hash_ids": [1, 2], "session_id": "s"},
        {"delay": 5, "text_input": "hello"},
        {"messages": [{"role": "user", "content": "hello"}]},
    ],
    "multi_turn": [{"session_id": "s", "turns": [{"text": "hello", "delay": 4}, {"texts": ["a"]}]}],
    "dag_jsonl": [
        {
            "session_id": "s",
            "turns": [
                {
                    "messages": [{"role": "user", "content": "hi"}],
                    "spawns": [{"children": ["c"], "join_at": 1}],
                },
                {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "delay": 3},
            ],
        },
        {"session_id": "c", "turns": [{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}]},
        {"session_id": "o", "orchestrator": True, "rounds": 2, "spawns": ["c"], "think_time_ms": 5},
    ],
    "inputs_json": [{"data": [{"session_id": "s", "payloads": [{"prompt": "hi", "max_tokens": 3}]}]}],
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1 << 63, 1 << 64, -(1 << 63), 10**400, 1e308, -0.5, math.nan, math.inf, 0.1]),
    st.sampled_from(["", "a", "s", "c", "\ud800", "../../x", "\x00"]),
    st.sampled_from([[], {}, [[]], [1, "a"], [None], {"role": 1}, ["s"], ["c", "c"], [1, 1], [2**63, -1]]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all members of a JSON value."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path] + [place for key, inner in members for place in places(inner, (*path, key))]


def changed(value: Any, path: tuple[Any, ...], new: Any, *, drop: bool) -> Any:
    """Return a copy in which the member at `path` is another, or absent."""
    if not path:
        return new
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if drop and not rest:
        del copy[key]
    else:
        copy[key] = changed(copy[key], tuple(rest), new, drop=drop)
    return copy


def text_of(values: list[Any]) -> bytes:
    return b"\n".join(json.dumps(value).encode(errors="surrogatepass") for value in values)


def attempt(folder: Path, format: str, content: bytes, suffix: str = "") -> None:
    """Read a file under both policies; hold what comes to what a reader promises."""
    ending = ".json" if format in ("inputs_json", "weka") and b"\n" not in content else ".jsonl"
    path = folder / f"trace{ending}{suffix}"
    path.write_bytes(content)
    opened = open_format(format)
    errors: list[TraceError] = []
    sessions = list(opened.read(path, errors.append))
    for error in errors:
        assert error.path.startswith(str(path)) and error.place and error.reason
    for session in sessions:
        hold(session)

    def stop(error: TraceError) -> None:
        raise error

    try:
        assert len(list(opened.read(path, stop))) == len(sessions) and not errors
    except TraceError as error:
        assert str(error) == str(errors[0])


def hold(session: RecordedSession) -> None:
    """Hold a session to what every reader promises."""
    assert session.block_tokens > 0
    for request in session.requests():
        assert request.input_tokens >= 0 and request.output_tokens >= 0 and 0 <= request.t_s < math.inf
        assert (len(request.hash_ids) - 1) * session.block_tokens < max(1, request.input_tokens)


LIMITS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("format", VALID)
@LIMITS
@given(data=st.data())
def test_a_changed_or_missing_member_gives_an_answer_or_a_clear_error(
    tmp_path: Path, format: str, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(places(VALID[format])[1:]))
    values = changed(VALID[format], path, data.draw(ODD), drop=data.draw(st.booleans()))
    attempt(tmp_path, format, text_of(values))


@pytest.mark.parametrize("format", VALID)
@LIMITS
@given(data=st.data())
def test_bytes_that_are_cut_or_changed_give_an_answer_or_a_clear_error(
    tmp_path: Path, format: str, data: st.DataObject
) -> None:
    content = bytearray(text_of(VALID[format]))
    cut = data.draw(st.integers(0, len(content)))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    attempt(tmp_path, format, bytes(content[:cut]))


@pytest.mark.parametrize("format", VALID)
@LIMITS
@given(cut=st.integers(0, 300), flip=st.integers(0, 300))
def test_a_damaged_gzip_gives_an_answer_or_a_clear_error(
    tmp_path: Path, format: str, cut: int, flip: int
) -> None:
    packed = bytearray(gzip.compress(text_of(VALID[format]), mtime=0))
    packed[flip % len(packed)] ^= 0x5A
    attempt(tmp_path, format, bytes(packed[: max(3, len(packed) - cut)]), ".gz")


@pytest.mark.parametrize("format", VALID)
@pytest.mark.parametrize("opening", ["[", '{"a":', '{"requests":[', '{"turns":['])
def test_deep_nesting_is_refused(tmp_path: Path, format: str, opening: str) -> None:
    attempt(tmp_path, format, opening.encode() * 100_000)


@pytest.mark.parametrize("format", VALID)
@LIMITS
@given(order=st.randoms(use_true_random=False), repeats=st.integers(1, 2))
def test_lines_in_any_order_and_twice_give_an_answer_or_a_clear_error(
    tmp_path: Path, format: str, order: Any, repeats: int
) -> None:
    values = VALID[format] * repeats
    order.shuffle(values)
    attempt(tmp_path, format, text_of(values))


def test_every_format_is_held_to_this() -> None:
    assert {format.partition(":")[0] for format in VALID} == set(FORMATS)


@pytest.mark.parametrize(
    ("format", "row", "field"),
    [
        (
            "mooncake:rows=delta",
            {"session_id": "s", "input_length": 1, "output_length": 1 << 40},
            "output_length",
        ),
        ("mooncake:rows=delta", {"session_id": "s", "input_length": 1 << 40}, "input_length"),
        ("multi_turn", {"turns": [{"text": "a", "output_length": 1 << 40}]}, "output_length"),
    ],
)
def test_a_length_that_would_take_hours_to_lay_out_is_refused(
    tmp_path: Path, format: str, row: dict[str, Any], field: str
) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(row))
    errors: list[TraceError] = []
    list(open_format(format).read(path, errors.append))
    assert [field in error.place for error in errors] == [True]


def test_an_unsigned_id_of_a_delta_row_is_an_id(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps({"session_id": "s", "input_length": 512, "hash_ids": [(1 << 64) - 1]}))
    (session,) = open_format("mooncake:rows=delta").read(path, lambda error: pytest.fail(str(error)))
    assert [len(request.hash_ids) for request in session.requests()] == [1]


@pytest.mark.parametrize("name", ["", "s"])
def test_a_session_of_request_bodies_has_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    bodies = [{"session_id": each, "payloads": [{"prompt": "hi"}]} for each in ("s", name)]
    (tmp_path / "a.json").write_text(json.dumps({"data": bodies}))
    with pytest.raises(TraceError, match=f"session_id: {name!r} must be a name that stands once in the file"):
        list(read_sessions(tmp_path / "a.json", "inputs_json"))


ASKED = {"t": 6e9, "type": "s", "in": 16, "out": 1}
WITHIN = {"t": 6e9, "type": "subagent", "requests": [ASKED]}
RELATIVE = {"id": "a", "block_size": 16, "subagent_times": "relative"}
SAID = {"messages": [{"role": "user", "content": "hi"}], "delay": 6e12}


@pytest.mark.parametrize(
    ("format", "lines"),
    [
        ("weka", [{**RELATIVE, "requests": [WITHIN]}]),
        ("weka", [{**RELATIVE, "requests": [WITHIN | {"requests": [WITHIN]}]}]),
        ("mooncake:rows=cumulative", [{"session_id": "s", "input_length": 1, "delay": 6e12}] * 2),
        ("multi_turn", [{"turns": [{"text": "a", "delay": 6e12}] * 2}]),
        ("dag_jsonl", [{"session_id": "s", "turns": [SAID] * 2}]),
        (
            "dag_jsonl",
            [
                {
                    "session_id": "o",
                    "orchestrator": True,
                    "rounds": 2,
                    "spawns": ["s"],
                    "think_time_ms": 6e12,
                },
                {"session_id": "s", "turns": [{**SAID, "delay": 0}]},
            ],
        ),
    ],
)
def test_times_that_add_up_beyond_all_bounds_are_refused(
    tmp_path: Path, format: str, lines: list[dict[str, Any]]
) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(text_of(lines))
    with pytest.raises(TraceError, match=r"adds up to 1.2e\+10 s, beyond 1e\+10"):
        list(read_sessions(path, format))
