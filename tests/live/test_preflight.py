"""A target is tried before a run: one that cannot be used ends it in its own words, with what to do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from swarm.config.target import TargetConfig
from swarm.errors import Interrupted, RunError
from swarm.live.preflight import tried, with_hint

MODELS = b'{"object":"list","data":[{"id":"llama-3.3-70b"}]}'
STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":1}}\n\ndata: [DONE]\n\n'
)


def reply(status: str, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


@contextmanager
def server(models: bytes, chat: bytes | None) -> Iterator[str]:
    """Answer questions for models with one text, and every request with another; None: with a stream."""
    ready: list[int] = []
    begun, over = threading.Event(), threading.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                await reader.readexactly(length)
                if head.startswith(b"GET"):
                    writer.write(models)
                elif chat is not None:
                    writer.write(chat)
                else:
                    writer.write(reply("200 OK", STREAM % (length // 4), "text/event-stream"))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def serve() -> None:
        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        ready.append(listening.sockets[0].getsockname()[1])
        begun.set()
        while not over.is_set():
            await asyncio.sleep(0.02)
        listening.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    begun.wait(10)
    try:
        yield f"http://127.0.0.1:{ready[0]}"
    finally:
        over.set()
        thread.join(10)


def trial(url: str, **changes: object) -> object:
    return tried(
        TargetConfig.model_validate({"urls": [url], **changes}), heed=lambda: None, note=lambda _: None
    )


GOOD = reply("200 OK", MODELS)
ERRORS = {
    "bad key": reply("401 Unauthorized", b'{"error":{"message":"Incorrect API key"}}'),
    "no memory": reply("500 Internal Server Error", b'{"error":{"message":"CUDA out of memory"}}'),
    "no such model": reply("404 Not Found", b'{"error":{"message":"The model `llama` does not exist"}}'),
    "lengths": reply("400 Bad Request", b'{"error":{"message":"Unrecognized request argument: min_tokens"}}'),
}


@pytest.mark.parametrize(
    ("models", "chat", "changes", "words"),
    [
        (
            reply("401 Unauthorized", b'{"error":{"message":"Incorrect API key"}}'),
            None,
            {},
            ["Incorrect API key", "api_key_env"],
        ),
        (reply("200 OK", b"<html>hi</html>", "text/html"), None, {}, ["<html>hi", "--model"]),
        (
            reply("308 Permanent Redirect", b"", more="Location: https://elsewhere/v1\r\n"),
            None,
            {},
            ["elsewhere", "Location"],
        ),
        (GOOD, ERRORS["no memory"], {}, ["CUDA out of memory", "http_5xx"]),
        (
            GOOD,
            ERRORS["no such model"],
            {"model": "llama-3-70b"},
            ["does not exist", "did you mean 'llama-3.3-70b'?"],
        ),
        (GOOD, ERRORS["lengths"], {}, ["min_tokens", "target.exact_output: false"]),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", None, {}, ["no HTTP/1.1"]),
    ],
)
def test_a_target_that_cannot_be_used_is_told_in_its_own_words(
    models: bytes, chat: bytes | None, changes: dict[str, object], words: list[str]
) -> None:
    retry = {"retry": {"attempts_max": 1}}
    with server(models, chat) as url, pytest.raises(RunError) as told:
        trial(url, **changes, **retry)
    assert [each for each in words if each not in str(told.value)] == []


def test_a_target_that_answers_is_resolved_and_what_was_sent_is_counted() -> None:
    with server(GOOD, None) as url:
        found = trial(url)
    assert (found.target.model, found.requests) == ("llama-3.3-70b", 2)  # type: ignore[attr-defined]
    assert found.target.bytes_per_token is not None  # type: ignore[attr-defined]
    assert "no row" in found.told()[0]  # type: ignore[attr-defined]


def test_one_server_of_two_that_refuses_is_left_aside() -> None:
    with server(GOOD, None) as well, server(GOOD, ERRORS["no memory"]) as ill:
        target = TargetConfig.model_validate(
            {"urls": [ill, well], "model": "llama-3.3-70b", "retry": {"attempts_max": 1}}
        )
        found = tried(target, heed=lambda: None, note=lambda _: None)
    assert found.target.urls == (ill, well)
    assert any("CUDA out of memory" in note for note in found.notes)


def test_it_is_told_what_a_silent_server_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.live.preflight.WAITED_S", 0.2)
    monkeypatch.setattr("swarm.live.preflight.FIRST_TOKEN_S", 1.0)
    notes: list[str] = []
    with server(GOOD, b"") as url, pytest.raises(RunError, match="timeout"):
        tried(
            TargetConfig.model_validate({"urls": [url], "retry": {"attempts_max": 1}}),
            heed=lambda: None,
            note=notes.append,
        )
    told = next(note for note in notes if "first token" in note)
    assert f"model 'llama-3.3-70b' that {url} has accepted (is the model still loading" in told


def test_a_signal_ends_the_trial() -> None:
    def heed() -> None:
        raise Interrupted(15)

    with server(GOOD, None) as url, pytest.raises(Interrupted):
        tried(TargetConfig(urls=(url,)), heed=heed, note=lambda _: None)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("ConnectError: [Errno -2] Name or service not known", "DNS"),
        ("ConnectError: All connection attempts failed; is the server running?", "nothing listens"),
        ("ConnectError: [SSL: WRONG_VERSION_NUMBER] wrong version number", "http://"),
        ("ConnectError: certificate verify failed: self-signed certificate", "ca_file"),
        ("ReadTimeout: ", "does not answer"),
    ],
)
def test_what_to_do_is_said(words: str, hint: str) -> None:
    assert hint in with_hint(words)
