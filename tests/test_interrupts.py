"""Signals as a wish to stop: noted, or the end of a wait at once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time

import pytest

from swarm.errors import Interrupted
from swarm.interrupts import Interrupts

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def soon(number: int) -> None:
    """Send the main thread a signal while it waits."""
    threading.Timer(0.05, signal.pthread_kill, [threading.main_thread().ident, number]).start()


@BOTH
def test_a_signal_is_noted_and_the_work_goes_on(number: int) -> None:
    with Interrupts() as interrupts:
        signal.raise_signal(number)
        assert interrupts.received == number
        assert interrupts.code(1) == 128 + number


@BOTH
@pytest.mark.parametrize("wait", [lambda: asyncio.run(asyncio.sleep(60)), lambda: time.sleep(60)])
def test_a_wait_is_ended_at_once(number: int, wait) -> None:
    with Interrupts() as interrupts:
        soon(number)
        with pytest.raises(Interrupted) as ended, interrupts.at_once():
            wait()
        assert ended.value.number == number


def test_a_signal_after_a_wait_is_noted_again() -> None:
    with Interrupts() as interrupts:
        with interrupts.at_once():
            pass
        signal.raise_signal(signal.SIGTERM)
        assert interrupts.received == signal.SIGTERM


EARLY = """
import time
from swarm.interrupts import end_on_signals
end_on_signals()
try:
    print("waits", flush=True)
    time.sleep(60)
finally:
    print("closed")
"""


@BOTH
def test_a_command_that_has_not_begun_ends_in_order(number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", EARLY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    said, told = process.communicate()
    assert (process.returncode, said) == (128 + number, "closed\n")
    assert told == f"swarm: ended by {signal.Signals(number).name}\n"
