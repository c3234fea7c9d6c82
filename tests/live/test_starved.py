"""A host that is starved of CPU says that it was itself, and not the target, that was slow."""

import asyncio
import time
from pathlib import Path

from swarms import aimed, experiment, provider
from test_hardship import play

from swarm.measure.measured_run import MeasuredRun
from swarm.measure.summary import exit_code
from swarm.measure.totals import facts_of

BUSY_S = 0.2


async def hog(seconds: float) -> None:
    """Leave the event loop a hundredth of a second now and then, and keep it busy for the rest."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        await asyncio.sleep(0.01)
        free_s = time.monotonic() + BUSY_S
        while time.monotonic() < free_s:
            pass


def test_a_starved_host_makes_its_run_invalid(tmp_path: Path) -> None:
    plain = experiment(
        load={"agents": 4, "ramp_s": 0.1, "duration_s": 3, "drain_s": 1},
        audit={"delivered_share": 0, "loop_lag_p99_s": 0.05, "send_lag_p99_s": 0.05},
    )
    with provider(plain) as port:
        config = aimed(plain, port)
        settled = play(config, tmp_path, lambda: hog(2.5))
    facts = facts_of(config, run_id="starved", mode="live", is_emulated=True)
    summary = MeasuredRun(settled, facts).summary()
    assert not summary["valid"] and exit_code(summary, None) == 1
    assert any("host 0: p99 event-loop lag" in reason for reason in summary["invalid_reasons"])
