"""Batches on their way: in order, again until acknowledged, within bounds."""

import asyncio
from dataclasses import replace

import pytest

from swarm.live.report_outbox import KEPT_MAX, RETIRED, ReportError, ReportQueue
from swarm.records.batch import Batch, Gauges

GAUGES = Gauges(
    at_s=0.0,
    sessions_started=0,
    sessions_finished=0,
    open_requests=0,
    sent=0,
    cpu_s=0.0,
    cpu_wait_s=None,
    put_off_s=0.0,
)


def batch(sequence: int, rows: bytes = b"") -> Batch:
    return Batch(
        host=0,
        epoch=0,
        sequence=sequence,
        is_last=False,
        rows=rows,
        open_rows=0,
        windows=b"",
        places=(),
        agents=(),
        itl=b"",
        loop_lag=b"",
        gauges=GAUGES,
        sessions_ended=(),
        follows=(),
        faults=(),
    )


class Receiver:
    """Takes batches as told: with an answer, or with an error."""

    def __init__(self, *answers: int | type[Exception]) -> None:
        self.answers = list(answers)
        self.got: list[int] = []

    async def __call__(self, each: Batch) -> int:
        answer = self.answers.pop(0) if self.answers else each.sequence
        if isinstance(answer, type):
            raise answer("as told")
        self.got.append(each.sequence)
        return answer


def send(outbox: ReportQueue, *batches: Batch, times: int = 1) -> None:
    async def go() -> None:
        for each in batches:
            outbox.put(each)
        for _ in range(times):
            await outbox.send(5.0)

    asyncio.run(go())


def test_batches_go_in_order_and_once() -> None:
    receiver = Receiver()
    outbox = ReportQueue(receiver, is_journaled=True)
    send(outbox, batch(0), batch(1), batch(2), times=2)
    assert (receiver.got, len(outbox)) == ([0, 1, 2], 0)


@pytest.mark.parametrize("answer", [ReportError, -1])
def test_what_is_not_acknowledged_is_sent_again(answer: int | type[Exception]) -> None:
    receiver = Receiver(answer)
    outbox = ReportQueue(receiver, is_journaled=True)
    send(outbox, batch(0), batch(1), times=2)
    assert receiver.got[-2:] == [0, 1]
    assert len(outbox) == 0


def test_a_replaced_host_is_told_to_stop() -> None:
    outbox = ReportQueue(Receiver(RETIRED), is_journaled=True)
    send(outbox, batch(0))
    assert outbox.is_retired


def test_what_no_journal_has_and_nobody_acknowledged_is_unstored() -> None:
    outbox = ReportQueue(Receiver(0, ReportError), is_journaled=True)
    refused = [replace(batch(sequence), refusal="full") for sequence in (1, 2)]
    send(outbox, batch(0), *refused)
    assert outbox.unstored == tuple(refused)


def test_with_a_journal_the_outbox_is_bounded_and_the_host_goes_on() -> None:
    outbox = ReportQueue(Receiver(), is_journaled=True)
    for sequence in range(KEPT_MAX + 50):
        outbox.put(batch(sequence))
    assert len(outbox) == KEPT_MAX
    assert not outbox.refusal


def test_without_a_journal_a_full_outbox_stops_the_host_and_keeps_all() -> None:
    outbox = ReportQueue(Receiver(), is_journaled=False)
    for sequence in range(KEPT_MAX + 1):
        outbox.put(batch(sequence))
    assert len(outbox) == KEPT_MAX + 1
    assert outbox.refusal


def test_the_bytes_are_bounded_too() -> None:
    outbox = ReportQueue(Receiver(), is_journaled=True)
    for sequence in range(10):
        outbox.put(batch(sequence, bytes(16 << 20)))
    assert len(outbox) == 4
