"""A proxy before a server: found in the environment, spoken to as RFC 9112 says, gone past where stated."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.config.target import TargetConfig
from swarm.errors import ConfigError
from swarm.live.targets.control import ControlPlane
from swarm.live.targets.transport.proxy import proxy_of

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "environment", "found"),
    [
        ("https://api.example.com/v1", {"https_proxy": "http://p:3128"}, "http://p:3128"),
        ("https://api.example.com/v1", {"http_proxy": "http://p:3128"}, None),
        ("http://api.example.com", {"all_proxy": "p:3128"}, "http://p:3128"),
        ("https://api.example.com", {"https_proxy": "http://p:1", "no_proxy": ".example.com"}, None),
        ("https://api.example.com", {"https_proxy": "http://p:1", "no_proxy": "other.com"}, "http://p:1"),
        ("http://10.0.0.7:8000", {"http_proxy": "http://p:1"}, None),
        ("http://vllm:8000", {"http_proxy": "http://p:1"}, None),
        ("http://localhost:8000", {"http_proxy": "http://p:1"}, None),
    ],
)
def test_the_environment_says_which_proxy(
    url: str, environment: dict[str, str], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    proxy = proxy_of(url, "environment")
    assert (None if proxy is None else proxy.url) == found
    assert proxy_of(url, None) is None


def test_a_proxy_that_is_not_spoken_to_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://p:1080")
    with pytest.raises(ConfigError, match=r"https_proxy .*socks5"):
        proxy_of("https://api.example.com", "environment")


def test_a_stated_proxy_is_told_the_whole_url(lab: SimpleNamespace) -> None:
    async def main() -> Any:
        async with lab.serving(lab.answer_well) as proxy:
            async with lab.targeting("http://api.example.com", proxy=proxy.url) as target:
                result = await target.send(lab.make_turn())
            return result.outcome, proxy.peers[0].requests[0][0].split(b"\r\n")[:2]

    first = [b"POST http://api.example.com/v1/chat/completions HTTP/1.1", b"Host: api.example.com"]
    assert lab.run(main) == ("ok", first)


def tunnel(to: str, status: bytes) -> Any:
    """Return a proxy's script: a tunnel to a local server, whatever host is asked for."""

    async def script(peer: Any) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 %b\r\n\r\n" % status)
        if not status.startswith(b"200"):
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", int(to.rpartition(":")[2]))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(4096):
                sink.write(data)
                await sink.drain()
            sink.close()

        await asyncio.gather(pump(peer.reader, writer), pump(reader, peer.writer))

    return script


def test_an_encrypted_server_is_reached_through_a_tunnel(
    lab: SimpleNamespace, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)

    async def main() -> Any:
        async with (
            lab.serving(lab.answer_well, tls) as server,
            lab.serving(tunnel(server.url, b"200 Connection established")) as proxy,
        ):
            # The environment's alone may name a user.
            monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:s%40t@"))
            async with lab.targeting("https://api.example.com", verify=False) as target:
                result = await target.send(lab.make_turn())
            heads = [peer.requests[0][0] for peer in (*proxy.peers, *server.peers)]
            return result.outcome, result.error, heads

    outcome, error, (asked, sent) = lab.run(main)
    assert (outcome, error) == ("ok", None)
    assert asked.startswith(b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n")
    assert b"Proxy-Authorization: Basic " + b64encode(b"me:s@t") in asked
    assert b"Proxy-Authorization" not in sent
    assert sent.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.example.com\r\n")


def test_a_tunnel_that_is_refused_is_told_in_the_proxys_words(lab: SimpleNamespace) -> None:
    async def main() -> Any:
        async with lab.serving(tunnel("", b"407 Proxy Authentication Required")) as proxy:
            async with lab.targeting("https://api.example.com", proxy=proxy.url) as target:
                result = await target.send(lab.make_turn())
            return result.outcome, result.error

    outcome, error = lab.run(main)
    assert outcome == "unreachable"
    assert "proxy http://127.0.0.1" in error
    assert "407 Proxy Authentication Required" in error


def test_questions_take_the_way_of_turns(lab: SimpleNamespace) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        body = b'{"data": [{"id": "m"}]}'
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def main() -> Any:
        async with lab.serving(script) as proxy:
            config = TargetConfig.model_validate({"urls": ["http://api.example.com"], "proxy": proxy.url})
            async with ControlPlane(config) as control:
                models = await control.models()
            return models, proxy.peers[0].requests[0][0].split(b"\r\n")[0]

    assert lab.run(main) == ([{"id": "m"}], b"GET http://api.example.com/v1/models HTTP/1.1")


def test_any_certificate_is_taken_where_that_is_stated(
    lab: SimpleNamespace, certificate: tuple[Path, Path]
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)

    async def main() -> list[str]:
        outcomes = []
        async with lab.serving(lab.answer_well, tls) as server:
            for verify in (False, True):
                async with lab.targeting(server.url, verify=verify) as target:
                    outcomes.append((await target.send(lab.make_turn())).outcome)
        return outcomes

    assert lab.run(main) == ["ok", "tls"]
