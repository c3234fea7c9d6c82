"""Nothing is sent before it is due, whatever loop the client runs on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from swarm.live.clock import RunClock, sleep_until
from swarm.live.interpreter import Interpreter

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": lambda: pytest.importorskip("uvloop").new_event_loop(),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_wait_does_not_end_before_its_time(loop: str) -> None:
    clock = RunClock(time.time())
    interpreter = Interpreter(
        clock=clock,
        target=None,  # type: ignore[arg-type]
        ledger=None,  # type: ignore[arg-type]
        host=0,
        measured_from_s=0.0,
        resumption=None,
        gate=None,
    )

    async def late_s() -> list[float]:
        found = []
        for k in range(50):
            at_s = clock.now_s() + 0.0013 + k * 0.00003
            await interpreter.wait_until(at_s, "s")
            found.append(clock.now_s() - at_s)
            await sleep_until(due_s := time.monotonic() + 0.0013 + k * 0.00003)
            found.append(time.monotonic() - due_s)
        return found

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        assert min(runner.run(late_s())) >= 0.0
