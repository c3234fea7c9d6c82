"""Batches in journals."""

import orjson

from swarm.records.batch import Batch, FailureExample, Gauges

BATCH = Batch(
    host=1,
    epoch=0,
    sequence=3,
    is_last=False,
    rows=b"rows",
    open_rows=0,
    windows=b"",
    places=(),
    agents=(),
    itl=b"",
    loop_lag=b"",
    gauges=Gauges(1.0, 0, 0, 0, 0, 0.0, None, 0.0),
    sessions_ended=(),
    follows=(),
    faults=(),
    examples=(FailureExample("http_4xx", 400, "no"), FailureExample("reset", None, "gone")),
    doubts=(("cached", 2),),
)


def test_a_frame_holds_the_batch() -> None:
    assert Batch.of_frame(BATCH.frame()) == BATCH


def test_a_frame_without_examples_is_read() -> None:
    frame = BATCH.frame()
    at = 4 + int.from_bytes(frame[:4], "little")
    head = orjson.loads(frame[4:at])
    del head["examples"], head["doubts"]
    old = orjson.dumps(head)
    found = Batch.of_frame(len(old).to_bytes(4, "little") + old + frame[at:])
    assert (found.examples, found.doubts, found.rows) == ((), (), b"rows")
