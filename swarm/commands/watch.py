"""`swarm watch`: a page or a terminal view of something that goes on, from a process beside it."""

from __future__ import annotations

import asyncio
import os
import secrets
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from swarm.commands.live_page import check_installed
from swarm.errors import RunError, UsageError
from swarm.records.writer_lock import WRITER
from swarm.report.live.going import Going
from swarm.report.live.screen_beside import can_be_shown
from swarm.report.live.server import EVERY_S, LOOPBACK, Publisher, serve_page
from swarm.report.live.terminal import last_state, no_stop, of_folder, of_url, watch_state
from swarm.urls import is_url

TOKEN_BYTES = 16
LINGER_S = 15.0
"""How long a page that was started with a run outlives its end where nobody looks."""
LINGER_S_MAX = 600.0
"""And where somebody does."""
NICENESS = 10
"""A page gives way to the run beside it."""


def watch_here(place: str, *, only_lines: bool, beside: int, held: int) -> int:
    """Show on this terminal what goes on in a folder, or at a page's URL; return the exit code.

    `beside` is the run whose view this is, which holds the other end of the pipe `held`; 0: none.
    """
    if is_url(place):
        state, stop = of_url(place), no_stop
    else:
        going = _opened(place, beside)
        state, stop = of_folder(going), going.course.ask_stop
    is_screen = not only_lines and can_be_shown()
    if not is_screen:
        return watch_state(state, only_lines=only_lines)
    from swarm.report.live.screen import show_screen

    if beside:
        os.nice(NICENESS)
        return show_screen(state, stop=lambda: _signal(beside), is_over=lambda: _is_closed(held))
    code = show_screen(state, stop=stop, is_over=lambda: False)
    last_state(state)
    return code


def _signal(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGINT)
        return True
    return False


def _is_closed(pipe: int) -> bool:
    """Whether nothing holds the other end of a pipe that nothing is written into."""
    return bool(select.select([pipe], [], [], 0)[0])


def watch(place: str, *, address: str, port: int, hosts: tuple[str, ...], beside: int) -> int:
    """Show on a page what goes on in a folder, until its end or Ctrl-C; return the exit code.

    `beside` is the process that the page was started with; 0: none, and the page stays until Ctrl-C.
    """
    going = _opened(place, beside)
    check_installed()
    os.nice(NICENESS)
    if address not in LOOPBACK:
        print(
            f"swarm: warning: {address} is not a loopback address: whoever has the URL sees the page and can "
            "stop the run, and it is not encrypted",
            file=sys.stderr,
        )
    ends = _Ends(beside)
    try:
        asyncio.run(
            serve_page(
                going,
                address=address,
                port=port,
                token=secrets.token_urlsafe(TOKEN_BYTES),
                hosts=hosts,
                opened=lambda url: print(url, flush=True),
                may_end=ends.may_end,
                every_s=EVERY_S,
            )
        )
    except OSError as fault:
        raise RunError(f"swarm watch: {address}:{port} cannot be listened on: {fault.strerror}") from None
    except KeyboardInterrupt:
        return 0
    return 0


def _opened(place: str, beside: int) -> Going:
    folder = Path(place)
    if not folder.is_dir():
        raise UsageError(f"swarm watch {place}: a run folder or a page's URL is expected")
    going = Going(
        folder, awaits=lambda: _is_alive(beside) if beside else (folder / "journal" / WRITER).exists()
    )
    going.read()
    if going.is_gone and not beside:
        raise UsageError(f"swarm watch {place}: nothing goes on there, and no results are there")
    return going


class _Ends:
    """Says when a page that was started with a run may end."""

    def __init__(self, beside: int) -> None:
        self._beside = beside
        self._since_s: float | None = None

    def may_end(self, publisher: Publisher) -> bool:
        """Whether what it showed is over, and nobody has looked for a while."""
        if not self._beside:
            return False
        if not publisher.has_ended and _is_alive(self._beside):
            self._since_s = None
            return False
        now_s = time.monotonic()
        self._since_s = self._since_s if self._since_s is not None else now_s
        over_s = now_s - self._since_s
        return over_s > LINGER_S_MAX or (over_s > LINGER_S and not publisher.watchers)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
