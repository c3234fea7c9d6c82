"""Ray itself: joined where there is a cluster, started where there is none, and left as it was found."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import services, worker
from ray._raylet import GcsClient  # type: ignore[attr-defined]

from swarm.cluster.environment import UNSET, check_environment
from swarm.errors import UsageError
from swarm.urls import within

LEAVE_S_MAX = 30.0
GCS_S_MAX = 8.0
"""How long a cluster's head may take for its first answer."""


@contextmanager
def ray_session(*, name: str) -> Iterator[None]:
    """Be connected to Ray: within a job or by RAY_ADDRESS to that cluster, else to a local one of our own."""
    started = not ray.is_initialized()
    if started:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")
        # Of a Ray that starts here: its own default, 15, lets anything else on the machine make hosts late.
        os.environ.setdefault("RAY_worker_niceness", "0")
        check_environment(os.environ)
        address = os.environ.get("RAY_ADDRESS") or "local"
        _check_answers(address)
        try:
            with _signals_are_ours():
                ray.init(
                    address=address,
                    namespace=f"swarm-{name}",
                    include_dashboard=False if address == "local" else None,
                    log_to_driver=True,
                    logging_level=logging.ERROR,
                )
        except Exception as fault:
            # Ray raises bare ones, such as where it starts too slowly.
            words = said(fault)
            verb = "started" if address == "local" else f"joined at RAY_ADDRESS={address}"
            raise UsageError(f"Ray cannot be {verb}: {words}") from fault
    try:
        yield
    finally:
        if started:
            _shut_down()


def _check_answers(address: str) -> None:
    """Raise UsageError where a cluster's head cannot say which cluster it is.

    `ray.init` asks the same for a minute and longer, hears no signal meanwhile, and then ends the process.
    """
    if address == "local" or address.startswith("ray://"):
        return
    named = f"RAY_ADDRESS={address}"
    try:
        found = services.get_ray_address_from_environment(address, None)
        within(GCS_S_MAX, lambda: GcsClient(address=found))
    except Exception as fault:  # noqa: BLE001 - Ray raises bare ones
        raise UsageError(
            f"{named}: no Ray cluster answers there: {said(fault)}; look whether its head is up "
            f"(`ray status`), or {UNSET}"
        ) from None


def said(fault: Exception) -> str:
    """Return what an error of Ray says in a line: its last, or where versions differ, which ones."""
    lines = [line.strip() for line in str(fault).strip().splitlines()]
    if lines and lines[0].startswith("Version mismatch"):
        return f"{' '.join(lines)}; the same versions are needed on every node and here"
    return lines[-1] if lines else type(fault).__name__


@contextmanager
def _signals_are_ours() -> Iterator[None]:
    """Let Ray start so that SIGTERM is for the driver, and handled as before; Ray has no options for that.

    Its daemons get process groups of their own: a signal to the driver's group (`timeout`, a shell, a
    supervisor) would take them from a run that still has its results to write. They end with the driver.
    Ray's handlers of SIGTERM end the process at once, one of them with a core's abort: while they are in
    place the signal waits.
    """
    popen = getattr(services, "ConsolePopen", None)
    if popen is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = signal.getsignal(signal.SIGTERM)

    def apart(*arguments: Any, **named: Any) -> Any:
        _hear(ours)  # A process is born with what its parent blocks.
        try:
            return popen(*arguments, process_group=0, **named)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    services.ConsolePopen = apart
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        services.ConsolePopen = popen
        _hear(ours)


def _shut_down() -> None:
    """Leave Ray, with SIGTERM handled as before: Ray resets it in C, unseen by Python; meanwhile it waits."""
    if threading.current_thread() is not threading.main_thread():
        _leave()
        return
    ours = signal.getsignal(signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        _leave()
    finally:
        _hear(ours)


def _leave() -> None:
    """Leave Ray in bounded time: one whose head is dead may answer nothing."""
    try:
        within(LEAVE_S_MAX, ray.shutdown)
    except TimeoutError:
        atexit.unregister(worker.shutdown)
        print(f"Ray did not end within {LEAVE_S_MAX:.0f} s; it is left as it is", file=sys.stderr, flush=True)


def _hear(handler: Any) -> None:
    """Take SIGTERM again, by a handler of ours where there is one."""
    if handler not in (None, signal.SIG_DFL):
        signal.signal(signal.SIGTERM, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
