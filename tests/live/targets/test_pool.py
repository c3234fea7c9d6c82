"""Connections: reused youngest first, kept for minutes, and replaced when a server has dropped them."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest


def pool_of(target: Any) -> Any:
    return target._endpoints[0].pool


def test_the_youngest_idle_connection_is_reused_first(lab: SimpleNamespace) -> None:
    async def main() -> list[int]:
        async with lab.serving(lab.answer_well) as server, lab.targeting(server.url) as target:
            await asyncio.gather(*(target.send(lab.make_turn()) for _ in range(5)))
            for _ in range(20):
                await target.send(lab.make_turn())
            assert pool_of(target).open_count == pool_of(target).idle_count == 5
            return sorted(len(peer.requests) for peer in server.peers)

    assert lab.run(main) == [1, 1, 1, 1, 21]


def test_idle_connections_past_the_bound_are_closed(lab: SimpleNamespace) -> None:
    async def main() -> int:
        changes = {"limits": {"idle_connections_max": 2}}
        async with lab.serving(lab.answer_well) as server, lab.targeting(server.url, **changes) as target:
            await asyncio.gather(*(target.send(lab.make_turn()) for _ in range(5)))
            return int(pool_of(target).open_count)

    assert lab.run(main) == 2


def test_a_connection_closed_while_idle_is_replaced_unseen(lab: SimpleNamespace) -> None:
    async def one_turn_each(peer: Any) -> None:
        await peer.request()
        await peer.send(lab.SSE_HEAD)
        await peer.chunk(lab.delta("a", finish_reason="stop"), lab.DONE)
        await peer.send(b"0\r\n\r\n")

    async def main() -> list[Any]:
        async with lab.serving(one_turn_each) as server, lab.targeting(server.url) as target:
            results = []
            for _ in range(3):
                results.append(await target.send(lab.make_turn()))
                await asyncio.sleep(0.05)
            assert pool_of(target).open_count == 0, "a close is noticed without a request"
            return [(result.outcome, result.attempts, result.reconnects) for result in results]

    assert lab.run(main) == [("ok", 1, 0)] * 3


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_that_dies_under_a_request_is_replaced(lab: SimpleNamespace, how: str) -> None:
    async def script(peer: Any) -> None:
        """Take a second request on the first connection only to drop it, as a server's idle timer may."""
        await peer.request()
        await peer.send(lab.SSE_HEAD)
        await peer.chunk(lab.delta("a", finish_reason="stop"), lab.DONE)
        await peer.send(b"0\r\n\r\n")
        await peer.request()
        peer.reset() if how == "reset" else peer.close()

    async def main() -> tuple[Any, ...]:
        async with lab.serving(script) as server, lab.targeting(server.url) as target:
            await target.send(lab.make_turn())
            result = await target.send(lab.make_turn())
            # The final attempt's time, not that of the request which was lost.
            assert result.first_token_s - result.sent_s < result.completed_s
            return result.outcome, result.attempts, result.reconnects, result.error

    assert lab.run(main) == ("ok", 1, 1, None)


def test_a_server_that_answers_nobody_fails_on_the_new_connection_too(lab: SimpleNamespace) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        if peer.number == 0:
            await peer.send(lab.SSE_HEAD)
            await peer.chunk(lab.delta("a", finish_reason="stop"), lab.DONE)
            await peer.send(b"0\r\n\r\n")
            await peer.request()
        peer.reset()

    async def main() -> tuple[Any, ...]:
        async with lab.serving(script) as server, lab.targeting(server.url) as target:
            await target.send(lab.make_turn())
            result = await target.send(lab.make_turn())
            return result.outcome, result.attempts, result.reconnects, len(server.peers)

    assert lab.run(main) == ("reset", 1, 1, 2)


def test_bytes_that_nobody_asked_for_end_the_connection(lab: SimpleNamespace) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        await peer.send(lab.SSE_HEAD)
        await peer.chunk(lab.delta("a", finish_reason="stop"), lab.DONE)
        await peer.send(b"0\r\n\r\n")
        await asyncio.sleep(0.02)
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(1)

    async def main() -> list[Any]:
        async with lab.serving(script) as server, lab.targeting(server.url) as target:
            results = []
            for _ in range(2):
                results.append(await target.send(lab.make_turn()))
                await asyncio.sleep(0.1)
            return [(result.outcome, result.reconnects) for result in results]

    assert lab.run(main) == [("ok", 0)] * 2


def test_an_answer_before_the_whole_request_was_read_is_taken(lab: SimpleNamespace) -> None:
    async def refuse_early(peer: Any) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(0.3)

    turn = lab.make_turn(lab.make_turn().prompt.extend(4_000_000))
    assert lab.ask(refuse_early, turn).outcome == "http_429"


def test_a_slow_reader_gets_the_whole_body(lab: SimpleNamespace) -> None:
    found = []

    async def slow(peer: Any) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        size = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        body = b""
        while len(body) < size:
            body += await peer.reader.read(1 << 20)
            await asyncio.sleep(0.005)
        found.append(body)
        await peer.send(lab.SSE_HEAD)
        await peer.chunk(lab.delta("a", finish_reason="stop"), lab.DONE)
        await peer.send(b"0\r\n\r\n")

    turn = lab.make_turn(lab.make_turn().prompt.extend(4_000_000))
    assert lab.ask(slow, turn).outcome == "ok"
    assert len(found[0]) > 16_000_000
    assert found[0].endswith(b"}")


def test_closing_the_target_ends_open_turns(lab: SimpleNamespace) -> None:
    async def hang(peer: Any) -> None:
        await peer.request()
        await asyncio.sleep(5)

    async def main() -> str:
        async with lab.serving(hang) as server, lab.targeting(server.url) as target:
            task = asyncio.ensure_future(target.send(lab.make_turn()))
            await asyncio.sleep(0.1)
            await target.close()
            return str((await task).outcome)

    assert lab.run(main) == "reset"
