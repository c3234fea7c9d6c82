import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.config.target import RetryConfig
from swarm.live.targets.retry import asked_s, retry_after_s
from swarm.live.targets.turn import Turn, TurnCut, TurnResult
from swarm.load.retry import wait_s
from swarm.streams import stream

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b" 17 ", 17.0),
        (b"1.5", 1.5),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True).encode(), 90.0),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True).encode(), 0.0),
        (b"Fri, 02 Jan 2026 03:04:35 -0000", 30.0),
        (b"-1", None),
        (b"nan", None),
        (b"inf", None),
        (b"soon", None),
        (b"", None),
        (b"9" * 400, None),
        (b"\xff\xfe", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: bytes, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([(b"Retry-After", b"2")], 2.0),
        ([(b"Retry-After", b"2"), (b"Retry-After-Ms", b"1250")], 1.25),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"2")], 2.0),
        ([(b"retry-after-ms", b"-1")], None),
        ([(b"retry-after", b"2"), (b"retry-after", b"9")], 2.0),
        ([], None),
    ],
)
def test_milliseconds_are_finer_than_seconds(
    headers: list[tuple[bytes, bytes]], seconds: float | None
) -> None:
    assert asked_s(headers, NOW) == seconds


def waits(config: RetryConfig, attempt: int, asked_s: float | None = None) -> list[float]:
    chance = stream(1, "retry", "x")
    found = [wait_s(config, "http_429", attempt=attempt, asked_s=asked_s, chance=chance) for _ in range(200)]
    assert None not in found
    return [wait for wait in found if wait is not None]


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 20.0), (99, 20.0)]
)
def test_waits_double_up_to_a_bound_and_half_of_each_is_chance(attempt: int, longest: float) -> None:
    config = RetryConfig(attempts_max=100, wait_first_s=0.5, wait_max_s=20.0)
    found = waits(config, attempt)
    assert longest / 2 <= min(found) < longest * 0.55
    assert longest * 0.95 < max(found) <= longest


def test_a_server_that_names_a_time_is_not_asked_before_it() -> None:
    config = RetryConfig(wait_first_s=1.0, retry_after_max_s=60.0)
    assert 10.0 <= min(waits(config, 1, asked_s=10.0)) <= max(waits(config, 1, asked_s=10.0)) <= 10.5
    assert wait_s(config, "http_429", attempt=1, asked_s=61.0, chance=stream(1, "retry", "x")) is None


def test_attempts_and_classes_are_bounded() -> None:
    config, chance = RetryConfig(attempts_max=3), stream(1, "retry", "x")
    assert wait_s(config, "http_429", attempt=3, asked_s=None, chance=chance) is None
    assert wait_s(config, "http_4xx", attempt=1, asked_s=None, chance=chance) is None


def busy(lab: SimpleNamespace, times: int, header: bytes = b"") -> Any:
    async def script(peer: Any) -> None:
        for _ in range(times):
            await peer.request()
            await peer.send(b"HTTP/1.1 429 Busy\r\n" + header + b"Content-Length: 0\r\n\r\n")
        await lab.answer_well(peer)

    return script


def test_a_turn_is_tried_again_and_its_waits_are_told(lab: SimpleNamespace) -> None:
    retry = {"attempts_max": 4, "wait_first_s": 0.05, "wait_max_s": 0.1}
    results = [lab.ask(busy(lab, 2), retry=retry) for _ in range(2)]
    for result in results:
        assert (result.outcome, result.attempts, result.http_status) == ("ok", 3, 200)
        assert 0.075 <= result.retry_wait_s <= 0.15
        assert result.retry_due_s <= result.sent_s < result.retry_due_s + 0.05
    assert results[0].retry_wait_s == results[1].retry_wait_s, "the same seed and request wait the same"


def test_a_turn_that_stays_refused_has_the_last_failure(lab: SimpleNamespace) -> None:
    result = lab.ask(busy(lab, 9), retry={"attempts_max": 3, "wait_first_s": 0.01})
    assert (result.outcome, result.attempts, result.http_status) == ("http_429", 3, 429)


def test_retry_after_is_honoured(lab: SimpleNamespace) -> None:
    result = lab.ask(busy(lab, 1, b"Retry-After: 1\r\n"), retry={"attempts_max": 2, "wait_first_s": 0.01})
    assert result.outcome == "ok"
    assert 1.0 <= result.retry_wait_s <= 1.005
    result = lab.ask(busy(lab, 1, b"Retry-After: 3600\r\n"), retry={"attempts_max": 2, "wait_first_s": 0.01})
    assert (result.outcome, result.attempts) == ("http_429", 1)


async def cut_off(target: Any, turn: Turn, after_s: float) -> TurnResult:
    """Return what is told of a turn that is cancelled while it lasts."""
    task = asyncio.ensure_future(target.send(turn))
    await asyncio.sleep(after_s)
    task.cancel()
    with pytest.raises(TurnCut) as cut:
        await task
    return cut.value.result


def test_a_turn_cut_off_in_its_wait_was_due_then_and_not_sent_again(lab: SimpleNamespace) -> None:
    async def main() -> TurnResult:
        script = busy(lab, 1, b"Retry-After: 60\r\n")
        async with (
            lab.serving(script) as server,
            lab.targeting(server.url, retry={"attempts_max": 2}) as target,
        ):
            return await cut_off(target, lab.make_turn(), 0.2)

    result = asyncio.run(main())
    assert (result.outcome, result.attempts, result.sent_s) == ("interrupted", 1, None)
    assert 0.1 < result.retry_wait_s < 5.0
    assert result.retry_due_s == result.completed_s


def test_an_attempt_that_was_due_and_is_cut_off_before_it_is_sent_is_none() -> None:
    result = TurnResult(attempts=3, retry_wait_s=2.0, retry_due_s=10.0)
    result.cut(10.5)
    assert (result.attempts, result.retry_wait_s, result.retry_due_s) == (2, 2.0, 10.0)


def test_a_turn_cut_off_in_its_answer_keeps_what_was_seen_of_it(lab: SimpleNamespace) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 429 Busy\r\nContent-Length: 0\r\n\r\n")
        await peer.request()
        await peer.send(lab.SSE_HEAD)
        await peer.chunk(lab.delta("a"))
        await peer.request()

    async def main() -> TurnResult:
        async with lab.serving(script) as server:
            retry = {"attempts_max": 2, "wait_first_s": 0.01}
            async with lab.targeting(server.url, retry=retry) as target:
                return await cut_off(target, lab.make_turn(), 0.2)

    result = asyncio.run(main())
    assert (result.outcome, result.attempts) == ("interrupted", 2)
    assert result.retry_due_s <= result.sent_s <= result.first_token_s < result.completed_s


def test_nothing_is_tried_again_once_a_token_came(lab: SimpleNamespace) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        await peer.send(lab.SSE_HEAD)
        await peer.chunk(lab.delta("a"))
        await asyncio.sleep(0.05)
        peer.reset()

    result = lab.ask(script, retry={"attempts_max": 3, "wait_first_s": 0.01})
    assert (result.outcome, result.attempts) == ("reset", 1)


def test_another_endpoint_is_tried_when_one_cannot_be_reached(lab: SimpleNamespace) -> None:
    async def main() -> list[Any]:
        async with lab.serving(lab.answer_well) as server:
            urls = ("http://127.0.0.1:9", server.url)
            async with lab.targeting(*urls, retry={"attempts_max": 2, "wait_first_s": 0.01}) as target:
                turns = [lab.make_turn(session=f"s{k}") for k in range(8)]
                results = [await target.send(turn) for turn in turns]
                return [
                    (result.outcome, result.endpoint == server.url, result.attempts) for result in results
                ]

    assert set(lab.run(main)) == {("ok", True, 1), ("ok", True, 2)}
