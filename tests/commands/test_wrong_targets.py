"""A wrong `--target` is named by every command that asks a server, in words that say what to do."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from swarm.commands.calibrate import run_calibrate
from swarm.commands.capacity import Question, capacity_of_server, objective_of
from swarm.commands.costs import Budget
from swarm.commands.doctor import server as looked_at
from swarm.commands.init import init
from swarm.config.target import TargetConfig
from swarm.errors import SwarmError
from swarm.live.preflight import tried
from tests.live.scripted_server import Asked, Script, listed, refused, reply, scripted, streamed
from tests.live.targets.conftest import certificate  # noqa: F401 - a fixture

ONCE = {"retry": {"attempts_max": 1}}
Commands = dict[str, Callable[[TargetConfig, Path], object]]


def capacity(target: TargetConfig, _: Path) -> object:
    question = Question((objective_of("ttft_s p95 <= 9"),), None, 1.0, 8, 1, Budget(None, True))
    return capacity_of_server(target, question, None)


def doctor(target: TargetConfig, _: Path) -> object:
    found = list(looked_at(target.model_dump(mode="json", exclude_defaults=True)))
    wrong = [each for each in found if each.verdict == "mend"]
    assert wrong, found
    raise SwarmError("; ".join(f"{each.what}: {each.found}: {each.remedy}" for each in wrong))


COMMANDS: Commands = {
    "capacity": capacity,
    "run": lambda target, _: tried(target, heed=lambda: None, note=lambda _: None),
    "doctor": doctor,
    "init": lambda target, folder: init(target, folder / "mine.yaml"),
    "calibrate": lambda target, folder: run_calibrate(target, folder / "fleet.yaml"),
}


def good(asked: Asked) -> bytes:
    if asked.method == "GET":
        return listed("llama-3.3-70b") if asked.path == "/v1/models" else reply("404 Not Found", b"{}")
    return streamed(asked)


def asking(answer: Callable[[Asked], bytes]) -> Script:
    """Return a script that lists its model, and answers requests so."""
    return lambda asked: good(asked) if asked.method == "GET" else answer(asked)


def answering(response: bytes) -> Script:
    return lambda _: response


def whole(asked: Asked) -> bytes:
    return reply(
        "200 OK", b'{"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}'
    )


MOVED = reply("308 Permanent Redirect", b"", more="Location: https://elsewhere/v1\r\n")
PAGE = reply("200 OK", b"<html><title>Grafana</title></html>", "text/html")
SHORT = "This model's maximum context length is 64 tokens. However, you requested 300 tokens."
WRONG: dict[str, tuple[Script, dict[str, object], list[str]]] = {
    "a wrong path": (
        lambda asked: (
            good(asked) if asked.path.startswith("/v1/") else reply("404 Not Found", b"no such page")
        ),
        {"path": "/api"},
        ["404", "path"],
    ),
    "a wrong path of the list": (
        answering(reply("404 Not Found", b'{"detail":"Not Found"}')),
        {},
        ["404", "path"],
    ),
    "no key": (
        answering(refused("401 Unauthorized", "Incorrect API key")),
        {},
        ["Incorrect API key", "key_env"],
    ),
    "a key that may not": (
        asking(answering(refused("403 Forbidden", "not allowed to sample"))),
        {},
        ["not allowed to sample", "key"],
    ),
    "a wrong model": (
        asking(answering(refused("404 Not Found", "The model `llama-3-70b` does not exist"))),
        {"model": "llama-3-70b"},
        ["does not exist", "did you mean 'llama-3.3-70b'?"],
    ),
    "a page": (answering(PAGE), {}, ["<html>", "no OpenAI-compatible API"]),
    "a redirect": (answering(MOVED), {}, ["elsewhere", "Location"]),
    "a redirect of requests": (asking(answering(MOVED)), {}, ["elsewhere", "Location"]),
    "no stream": (asking(whole), {}, ["application/json", "stream: true"]),
    "a short context": (asking(answering(refused("400 Bad Request", SHORT))), {}, ["64 tokens", "context"]),
    "a broken server": (
        asking(answering(refused("500 Internal Server Error", "CUDA out of memory"))),
        {},
        ["CUDA out of memory", "server's own log"],
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_a_server_is_named(wrong: str, command: str, tmp_path: Path) -> None:
    script, changes, words = WRONG[wrong]
    with scripted(script) as url, pytest.raises(SwarmError) as told:
        target = TargetConfig.model_validate({"urls": [url], **ONCE, **changes})
        COMMANDS[command](target, tmp_path)
    assert [each for each in words if each not in str(told.value)] == [], str(told.value)


@pytest.fixture
def servers(certificate: tuple[Path, Path]) -> Iterator[dict[str, str]]:  # noqa: F811
    """URLs that no request comes through to, by what is wrong with them."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with ExitStack() as stack:
        plain = stack.enter_context(scripted(good))
        secure = stack.enter_context(scripted(good, tls))
        yield {
            "TLS to a plain port": plain.replace("http", "https"),
            "plain to TLS": secure.replace("https", "http"),
            "a certificate of its own": secure,
            "a closed port": "http://127.0.0.1:9",
            "an unknown host": "http://no-such-host.invalid:8000",
        }


UNREACHED = {
    "TLS to a plain port": ["http://"],
    "plain to TLS": ["https://"],
    "a certificate of its own": ["certificate", "ca_file", "verify: false"],
    "a closed port": ["is the server running"],
    "an unknown host": ["no-such-host.invalid", "host's name"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("wrong", UNREACHED)
def test_what_keeps_a_server_from_being_asked_is_named(
    wrong: str, command: str, servers: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(SwarmError) as told:
        COMMANDS[command](TargetConfig.model_validate({"urls": [servers[wrong]], **ONCE}), tmp_path)
    assert [each for each in UNREACHED[wrong] if each not in str(told.value)] == [], str(told.value)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("url", ["http://api.example.com", "https://api.example.com"])
def test_a_dead_proxy_is_named(
    url: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(SwarmError) as told:
        COMMANDS[command](TargetConfig.model_validate({"urls": [url], **ONCE}), tmp_path)
    assert [each for each in ("127.0.0.1:9", "proxy") if each not in str(told.value)] == [], str(told.value)
