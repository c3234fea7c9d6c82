"""What a host tells of failed requests and of counts that cannot be."""

import time
from collections import Counter
from collections.abc import Sequence

from swarm.config.slo import ObjectiveConfig
from swarm.context.tree import root
from swarm.live.clock import RunClock
from swarm.live.ledger import EXAMPLES_MAX, HostLedger
from swarm.live.loop_lag import LoopLag
from swarm.live.targets.turn import TurnResult
from swarm.live.turn_rows import OpenRequest, row_of
from swarm.measure.window import Windows
from swarm.records.batch import Batch
from swarm.workload.effects import Agent, Infer


def ledger(objectives: Sequence[ObjectiveConfig] = ()) -> HostLedger:
    return HostLedger(
        clock=RunClock(time.time()), host=0, epoch=0, block_tokens=16, journal=None, lag=LoopLag(),
        windows=Windows(window_s=1.0, origin_s=0.0), takeover=None, follows=(), objectives=objectives,
    )  # fmt: skip


def note(book: HostLedger, turn: int, result: TurnResult) -> None:
    agent = Agent("s", "s", None, "worker", lambda: iter(()))  # type: ignore[arg-type, return-value]
    effect = Infer(root("p").extend(8), 4, echo=False)
    opened = OpenRequest(agent, turn, effect, 0.0, 0.0, True, False)
    ideal = book.sent(opened)
    row = row_of(opened, result, gaps_s=(), origin_s=0.0, ideal_tokens=ideal, host=0)
    book.ended(effect, row, ())
    book.remarked(row, result)


def test_a_host_tells_a_few_failures_of_each_class_in_words_and_counts_all() -> None:
    book = ledger()
    for turn in range(6):
        note(book, turn, TurnResult(outcome="http_4xx", error=f"no {turn}", http_status=400))
    note(book, 6, TurnResult(outcome="reset", error="gone"))
    batch = book.take()
    told = Counter(example.error_class for example in batch.examples)
    assert told == {"http_4xx": EXAMPLES_MAX, "reset": 1}
    assert (batch.examples[0].status, batch.examples[0].words) == (400, "no 0")
    note(book, 7, TurnResult(outcome="http_4xx", error="again", http_status=400))
    assert book.take().examples == (), "each class is told once in a run"


def test_doubts_are_counted_in_the_batch_that_they_belong_to() -> None:
    book = ledger()
    for turn in range(3):
        note(book, turn, TurnResult(output_tokens=4, doubts=("cached",) if turn else ("cached", "output")))
    assert dict(book.take().doubts) == {"cached": 3, "output": 1}
    assert book.take().doubts == ()


def test_an_interrupted_request_is_no_example() -> None:
    book = ledger()
    note(book, 0, TurnResult(outcome="interrupted"))
    assert book.take().examples == ()


def test_a_batch_tells_failures_by_class_and_what_was_good() -> None:
    book = ledger([ObjectiveConfig(metric="ttft_s", quantile=0.95, at_most=1.0)])
    for turn, ttft_s in enumerate((0.5, 1.5, 0.9)):
        note(book, turn, TurnResult(sent_s=0.0, first_token_s=ttft_s, completed_s=2.0, attempts=1))
    for turn, failure in enumerate(("timeout", "timeout", "reset"), start=3):
        note(book, turn, TurnResult(outcome=failure, sent_s=0.0, completed_s=2.0, attempts=1))
    batch = Batch.of_frame(book.take().frame())
    assert (dict(batch.failures), batch.good) == ({"timeout": 2, "reset": 1}, 2)
    after = book.take()
    assert (after.failures, after.good) == ((), 0)
