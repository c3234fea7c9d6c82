"""Batches as a host reports them, without a host."""

import time
from pathlib import Path

from swarm.config.experiment import Experiment
from swarm.context.tree import root
from swarm.live.clock import RunClock
from swarm.live.ledger import HostLedger
from swarm.live.loop_lag import LoopLag
from swarm.live.targets.turn import TurnResult
from swarm.live.turn_rows import OpenRequest, row_of
from swarm.measure.window import windows_of
from swarm.records.batch import Batch
from swarm.workload.effects import Agent, Infer

EXPERIMENT = Experiment.model_validate({"name": "x", "workload": {"kind": "synthetic"}})
AGENT = Agent("s000000", "s000000", None, "orchestrator", dict)  # type: ignore[arg-type]


def reports(folder: Path, host: int = 0, epoch: int = 0, begun_ago_s: float = 0.0) -> list[Batch]:
    """Return three batches of one agent: a turn ends, a turn is open, that turn ends."""
    ledger = HostLedger(
        clock=RunClock(time.time() - begun_ago_s), host=host, epoch=epoch, block_tokens=16,
        windows=windows_of(EXPERIMENT), journal=str(folder), lag=LoopLag(), takeover=None, follows=(),
        objectives=(),
    )  # fmt: skip
    ledger.agent_started(AGENT, 0.0)
    batches = []
    for turn, ends_late in ((0, False), (1, True)):
        infer = Infer(root("s000000#0").extend(100), 10, False)
        request = OpenRequest(AGENT, turn, infer, turn, turn + 0.1, True, False)
        ledger.sent(request)
        if ends_late:
            batches.append(ledger.take())
        result = TurnResult(sent_s=turn + 0.1, completed_s=turn + 0.5, output_tokens=10, attempts=1)
        row = row_of(request, result, gaps_s=(), origin_s=0.0, ideal_tokens=0, host=host)
        ledger.ended(infer, row, ())
        batches.append(ledger.take())
    return batches
