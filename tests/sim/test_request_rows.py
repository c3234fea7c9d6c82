"""A simulated request's row, column by column beside that of a live one with the same course."""

import pytest

from swarm.context.tree import Node, Prompt
from swarm.fleet.events import CacheUse, Finished, FirstToken, Refused
from swarm.measure.request_row import request_row
from swarm.records.columns import SCHEMA
from swarm.records.rows import values_of
from swarm.sim.kernel import Runner, SimulatedRequest
from swarm.sim.request_rows import ended_row, interrupted_row
from swarm.workload.effects import Agent, Infer

AGENT = Agent("s1/0", "s1", "s1", "subagent", lambda: iter(()))  # type: ignore[arg-type, return-value]
EFFECT = Infer(Prompt(Node("s1/0#0"), 900), 70, False, "compact", "human", 33)
CACHE = CacheUse(900, 640, 832, (512, 128, 0, 0, 0), (0, 0, 0, 192, 0, 0, 0, 0))


def request() -> SimulatedRequest:
    made = SimulatedRequest(Runner(AGENT, 0.0, None), EFFECT, 10.0, 4)
    made.first, made.attempts = FirstToken(12.5, 1, CACHE, 3), 2
    made.retry_wait_s, made.admission_wait_s, made.due_s = 1.25, 0.5, 11.75
    return made


@pytest.mark.parametrize("ended", ["ok", "http_429", "interrupted"])
def test_every_column_holds_what_a_live_row_would(ended: str) -> None:
    is_ok = ended == "ok"
    if ended == "interrupted":
        row = interrupted_row(request(), 15.0, measured_from_s=5.0)
    else:
        end = Finished(15.0, 1, 71, 0.03, 0.4) if is_ok else Refused(15.0, 1, "full", 2.0)
        row = ended_row(request(), end, measured_from_s=5.0)
    twin = request_row(
        AGENT,
        EFFECT,
        4,
        host=0,
        endpoint="replica-3",
        intended_s=10.0,
        due_s=11.75,
        sent_s=11.75,
        first_token_s=12.5,
        last_token_s=15.0 if is_ok else None,
        completed_s=15.0,
        prompt_tokens=None,
        cached_tokens=640,
        written_5m_tokens=None,
        written_1h_tokens=None,
        ideal_tokens=832,
        output_tokens=71 if is_ok else 0,
        admission_wait_s=0.5,
        retry_wait_s=1.25,
        attempts=2,
        ended=ended,
        itl_mean_s=0.03 if is_ok else None,
        itl_max_s=0.4 if is_ok else None,
        merged_reads=0,
        resumed=False,
        measured=True,
        by_tier=CACHE.by_tier,
        lost_to=CACHE.lost_to,
    )
    assert dict(zip(SCHEMA.names, row, strict=True)) == dict(zip(SCHEMA.names, values_of(twin), strict=True))
