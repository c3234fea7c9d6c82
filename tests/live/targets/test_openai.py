"""What goes over the wire for a turn."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.config.target import TargetConfig
from swarm.context.render import id_alphabet, text_alphabet
from swarm.context.tree import Prompt, root
from swarm.errors import ConfigError
from swarm.live.targets.body import body_writer

KEY = "sk-do-not-show-me"


def body(prompt: Prompt, **changes: Any) -> dict[str, Any]:
    writer = body_writer(TargetConfig.model_validate({"model": "m", **changes}))
    found: dict[str, Any] = json.loads(b"".join(writer.write(prompt, 17)))
    return found


def talk() -> Prompt:
    """An agent's third turn: two replies behind it, on a shared root."""
    prompt = root("system").extend(200).branch("agent").extend(50)
    prompt.node.echo(prompt.length, prompt.length + 10, 'one "1"')
    prompt = prompt.extend(10 + 30)
    prompt.node.echo(prompt.length, prompt.length + 5, "two")
    return prompt.extend(5 + 20)


def test_messages_join_to_the_rendered_text() -> None:
    messages = body(talk())["messages"]
    assert [message["role"] for message in messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    rendered = json.loads(b'"' + b"".join(text_alphabet(4.0).render(talk())) + b'"')
    assert "".join(message["content"] for message in messages) == rendered
    assert messages[2]["content"] == 'one "1"'


def test_a_string_or_a_list_of_ids_is_the_rendered_prompt() -> None:
    prompt = talk()
    rendered = json.loads(b'"' + b"".join(text_alphabet(4.0).render(prompt)) + b'"')
    assert body(prompt, api="completions")["prompt"] == rendered
    ids = body(prompt, api="token_ids", token_id_low=10, token_id_high=50_000)["prompt"]
    assert len(ids) == prompt.length
    assert ids == json.loads(b"[" + b"".join(id_alphabet(10, 50_000).render(prompt))[:-1] + b"]")


@pytest.mark.parametrize("api", ["chat", "completions", "token_ids"])
def test_settings_follow_the_prompt(api: str) -> None:
    found = body(talk(), api=api, extra_body={"temperature": 0.5, "note": "100%"})
    assert next(iter(found)) in ("messages", "prompt")
    assert found["stream"] is True
    assert found["stream_options"] == {"include_usage": True}
    assert (found["max_tokens"], found["min_tokens"], found["ignore_eos"]) == (17, 17, True)
    assert (found["temperature"], found["note"]) == (0.5, "100%")
    plain = body(talk(), api=api, exact_output=False)
    assert not {"min_tokens", "ignore_eos"} & set(plain)


@given(length=st.integers(1, 5000), more=st.integers(1, 5000), cut=st.integers(1, 5000))
@settings(max_examples=50, deadline=None)
def test_bodies_of_shared_prefixes_start_with_the_same_bytes(length: int, more: int, cut: int) -> None:
    prompt = root("shared").extend(length)
    place = Prompt(prompt.node, min(cut, length))
    closings = {"chat": b'"}],"model"', "completions": b'","model"', "token_ids": b"],"}
    for api, closing in closings.items():
        writer = body_writer(TargetConfig.model_validate({"model": "m", "api": api}))
        base = b"".join(writer.write(place, 1))
        shared = base[: base.index(closing)]
        assert len(shared) >= 4 * place.length
        for other in (prompt.extend(more), place.branch("branch").extend(more)):
            if other.length > place.length and (api != "chat" or place.length > 4):
                assert b"".join(writer.write(other, 1)).startswith(shared)


@pytest.mark.parametrize(
    ("changes", "there", "absent"),
    [
        ({"max_tokens_member": "max_completion_tokens"}, {"max_completion_tokens": 17}, ["max_tokens"]),
        ({"omit": ["stream_options", "min_tokens"]}, {"max_tokens": 17, "ignore_eos": True}, []),
        ({"omit": ["stream_options"]}, {"stream": True}, ["stream_options"]),
        ({"omit": ["max_tokens", "model"]}, {"min_tokens": 17}, ["max_tokens", "model"]),
        ({"max_tokens_member": "n", "omit": ["max_tokens"]}, {}, ["n", "max_tokens"]),
    ],
)
def test_members_are_named_and_left_out_as_stated(
    changes: dict[str, Any], there: dict[str, Any], absent: list[str]
) -> None:
    found = body(talk(), api="chat", **changes)
    assert {name: found[name] for name in there} == there
    assert not set(absent) & set(found)


@pytest.mark.parametrize(
    ("header", "line"),
    [("api-key", b"api-key: " + KEY.encode()), ("Authorization", b"Authorization: Bearer " + KEY.encode())],
)
def test_a_key_goes_into_the_header_that_is_named(
    lab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, header: str, line: bytes
) -> None:
    monkeypatch.setenv("SWARM_TEST_KEY", KEY)

    async def main() -> bytes:
        auth = {"auth": {"header": header, "env": "SWARM_TEST_KEY"}}
        async with lab.serving(lab.answer_well) as server, lab.targeting(server.url, **auth) as target:
            await target.send(lab.make_turn())
            return bytes(server.peers[0].requests[0][0])

    assert b"\r\n" + line + b"\r\n" in lab.run(main)


def test_headers_name_the_agent_and_its_parent(lab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_TEST_KEY", KEY)

    async def main() -> list[bytes]:
        async with lab.serving(lab.answer_well) as server:
            changes = {
                "session_header": "X-Agent",
                "api_key_env": "SWARM_TEST_KEY",
                "headers": {"X-Team": "blue"},
            }
            async with lab.targeting(server.url + "/v1/", **changes) as target:
                await target.send(lab.make_turn(agent="s1/0/é\r\nX: y", parent="s1/0"))
                await target.send(lab.make_turn(parent=None))
            return [head for head, _ in server.peers[0].requests]

    first, second = lab.run(main)
    assert first.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:")
    for line in (b"X-Agent: s1/0/%C3%A9%0D%0AX%3A%20y", b"X-Parent-Session-ID: s1/0", b"X-Team: blue"):
        assert b"\r\n" + line + b"\r\n" in first
    assert b"\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n" in first
    assert b"X-Parent-Session-ID" not in second


def test_the_key_is_nowhere_to_be_read(lab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_TEST_KEY", KEY)

    async def repeat_the_key(peer: Any) -> None:
        await peer.request()
        text = f"bad key {KEY}".encode()
        await peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))

    async def main() -> str:
        key = {"api_key_env": "SWARM_TEST_KEY"}
        async with lab.serving(repeat_the_key) as server, lab.targeting(server.url, **key) as target:
            result = await target.send(lab.make_turn())
            return f"{result} {target!r} {target._endpoints!r} {target._config!r}"

    shown = lab.run(main)
    assert "bad key [key]" in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"urls": []}, "target.urls"),
        ({"model": None}, "target.model"),
        ({"api_key_env": "SWARM_NO_SUCH_KEY"}, "SWARM_NO_SUCH_KEY"),
        ({"auth": {"header": "api-key", "env": "SWARM_NO_SUCH_KEY"}}, "target.auth.env names"),
    ],
)
def test_what_cannot_be_used_is_refused(lab: SimpleNamespace, changes: dict[str, Any], says: str) -> None:
    async def main() -> None:
        urls = changes.pop("urls", ["http://host"])
        async with lab.targeting(*urls, **changes):
            pass

    with pytest.raises(ConfigError, match=says) as refusal:
        lab.run(main)
    assert "secret" not in str(refusal.value)
