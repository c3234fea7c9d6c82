"""Every class of failure, from a server that misbehaves just so."""

import asyncio
import socket
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

SHORT = {"connect_s": 0.3, "first_token_s": 0.3, "between_tokens_s": 0.3, "total_s": 0.3}
LONG = {"connect_s": 9.0, "first_token_s": 9.0, "between_tokens_s": 9.0, "total_s": 9.0}
SMALL = {"header_bytes_max": 2048, "event_bytes_max": 1024, "response_bytes_max": 8192}


def after(lab: SimpleNamespace, *parts: bytes, end: str = "close", head: bytes | None = None) -> Any:
    """Return a script: read the request, send the parts, then end so."""

    async def script(peer: Any) -> None:
        await peer.request()
        await peer.send(lab.SSE_HEAD if head is None else head)
        for part in parts:
            await peer.chunk(part)
        if end == "hang":
            await asyncio.sleep(5)
        elif end == "complete":
            await peer.send(b"0\r\n\r\n")
            await asyncio.sleep(5)
        elif end == "reset":
            await asyncio.sleep(0.05)
            peer.reset()

    return script


def raw(text: bytes) -> Any:
    async def script(peer: Any) -> None:
        await peer.request()
        await peer.send(text)

    return script


def status(line: str, body: str = "no") -> bytes:
    return f"HTTP/1.1 {line}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("429 Too Many Requests", "http_429"),
        ("400 Bad Request", "http_4xx"),
        ("404 Not Found", "http_4xx"),
        ("500 Internal Server Error", "http_5xx"),
        ("503 Service Unavailable", "http_5xx"),
        ("302 Found", "http_other"),
    ],
)
def test_statuses(lab: SimpleNamespace, line: str, kind: str) -> None:
    result = lab.ask(raw(status(line, "the reason")))
    assert (result.outcome, result.http_status) == (kind, int(line[:3]))
    assert "the reason" in result.error


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        STREAM + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b",
        STREAM + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        STREAM + b"\r\ndata: {not json}\n\n",
        STREAM + b"\r\ndata: [1, 2]\n\n",
        STREAM + b'\r\ndata: {"choices": 7}\n\n',
        STREAM + b'\r\ndata: {"choices":[{"delta":{"content":"a\n\n',
        STREAM + b'\r\ndata: {"usage":{"prompt_tokens":"x"}}\n\n',
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    ],
)
def test_malformed(lab: SimpleNamespace, text: bytes) -> None:
    result = lab.ask(raw(text))
    assert result.outcome == "malformed"
    assert result.first_token_s is None


def test_an_error_inside_the_stream(lab: SimpleNamespace) -> None:
    result = lab.ask(
        after(lab, lab.delta("a"), b'data: {"error": {"message": "out of memory"}}\n\n', end="hang")
    )
    assert (result.outcome, result.output_counted) == ("stream_error", 1)
    assert "out of memory" in result.error


@pytest.mark.parametrize(
    ("end", "kind"), [("reset", "reset"), ("close", "truncated"), ("complete", "truncated")]
)
def test_streams_that_end_early(lab: SimpleNamespace, end: str, kind: str) -> None:
    result = lab.ask(after(lab, lab.delta("a"), lab.delta("b"), end=end))
    assert (result.outcome, result.output_counted) == (kind, 2)
    assert result.first_token_s is not None, "a failed turn keeps what was measured"


def test_no_answer_at_all_on_a_new_connection_is_the_servers_failure(lab: SimpleNamespace) -> None:
    result = lab.ask(raw(b""))
    assert (result.outcome, result.reconnects) == ("truncated", 0)


@pytest.mark.parametrize(
    ("head", "parts"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Big: " + b"x" * 3000 + b"\r\n", ()),
        (None, (b"data: " + b"x" * 2000,)),
        (None, (b": ping\n\n" * 100,) * 20),
    ],
)
def test_too_large(lab: SimpleNamespace, head: bytes | None, parts: tuple[bytes, ...]) -> None:
    assert lab.ask(after(lab, *parts, end="hang", head=head), limits=SMALL).outcome == "too_large"


def test_endless_trailers_are_too_large(lab: SimpleNamespace) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        await peer.send(lab.SSE_HEAD)
        await peer.send(b"0\r\n")
        for k in range(1000):
            await peer.send(b"X-Trailer-%d: x\r\n" % k)
            await asyncio.sleep(0.001)

    assert lab.ask(script, limits=SMALL).outcome == "too_large"


@pytest.mark.parametrize(
    ("which", "deltas", "kind"),
    [
        ("first_token_s", 0, "timeout_first_token"),
        ("between_tokens_s", 1, "timeout_between_tokens"),
        ("total_s", 1, "timeout_total"),
    ],
)
def test_timeouts(lab: SimpleNamespace, which: str, deltas: int, kind: str) -> None:
    script = after(lab, *[lab.delta("a")] * deltas, end="hang")
    result = lab.ask(script, timeouts={**LONG, which: 0.3})
    assert result.outcome == kind
    assert 0.3 <= result.completed_s - result.sent_s < 1.0


def test_tokens_that_keep_coming_do_not_time_out_between(lab: SimpleNamespace) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        await peer.send(lab.SSE_HEAD)
        for _ in range(8):
            await asyncio.sleep(0.1)
            await peer.chunk(lab.delta("a"))
        await peer.chunk(lab.delta("", finish_reason="stop"), lab.DONE)
        await peer.send(b"0\r\n\r\n")

    result = lab.ask(script, timeouts={**LONG, "first_token_s": 0.4, "between_tokens_s": 0.4})
    assert (result.outcome, result.output_counted) == ("ok", 8)


def test_what_comes_after_done_does_no_harm(lab: SimpleNamespace) -> None:
    for end in ("reset", "close", "hang"):
        result = lab.ask(after(lab, lab.delta("a", finish_reason="stop"), lab.DONE, end=end), timeouts=SHORT)
        assert (result.outcome, result.error) == ("ok", None)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask_at(lab: SimpleNamespace, url: str, **changes: Any) -> Any:
    async def main() -> Any:
        async with lab.targeting(url, **changes) as target:
            return await target.send(lab.make_turn())

    return lab.run(main)


def test_refused(lab: SimpleNamespace) -> None:
    result = ask_at(lab, f"http://127.0.0.1:{unused_port()}")
    assert (result.outcome, result.sent_s, result.http_status) == ("refused", None, None)
    assert result.completed_s > 0


def test_a_name_that_nobody_knows_is_unreachable(lab: SimpleNamespace) -> None:
    assert ask_at(lab, "http://swarm.invalid:80").outcome == "unreachable"
    assert ask_at(lab, f"http://{'x' * 70}.invalid:80").outcome == "unreachable"


def test_no_connection_in_time(lab: SimpleNamespace) -> None:
    with socket.socket() as listener:
        # A full backlog: the kernel lets further connections wait.
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        result = ask_at(
            lab, f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts={**LONG, "connect_s": 0.3}
        )
        for one in waiting:
            one.close()
    assert result.outcome == "timeout_connect"


def test_the_clients_own_bound_on_connections(lab: SimpleNamespace) -> None:
    async def main() -> list[str]:
        async with (
            lab.serving(after(lab, end="hang")) as server,
            lab.targeting(
                server.url, limits={"connections_max": 2}, timeouts={**LONG, "total_s": 0.5}
            ) as target,
        ):
            results = await asyncio.gather(*(target.send(lab.make_turn()) for _ in range(3)))
            return sorted(result.outcome for result in results)

    assert lab.run(main) == ["client_limit", "timeout_total", "timeout_total"]


def test_tls_trusts_what_it_is_told_to(lab: SimpleNamespace, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    async def main() -> list[Any]:
        async with lab.serving(lab.answer_well, context) as server:
            results = []
            for ca_file in (str(certificate[0]), None):
                async with lab.targeting(server.url, ca_file=ca_file) as target:
                    results += [await target.send(lab.make_turn()) for _ in range(2)]
            async with lab.targeting(server.url.replace("https", "http")) as target:
                results.append(await target.send(lab.make_turn()))
            return [(result.outcome, result.reply, result.connect_s > 0) for result in results]

    trusted = [("ok", "ab", True), ("ok", "ab", False)]
    assert lab.run(main)[:2] == trusted
    assert [outcome for outcome, _, _ in lab.run(main)[2:4]] == ["tls", "tls"]


def test_a_cancelled_turn_leaves_no_connection(lab: SimpleNamespace) -> None:
    async def main() -> bool:
        async with lab.serving(after(lab, end="hang")) as server, lab.targeting(server.url) as target:
            task = asyncio.ensure_future(target.send(lab.make_turn()))
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.wait([task])
            rest = await asyncio.wait_for(server.peers[0].reader.read(), 2)
            return task.cancelled() and rest == b""

    assert lab.run(main)
