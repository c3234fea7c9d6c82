"""`swarm capture`: a recording proxy in the foreground, until a signal."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

from swarm.capture.proxy import Proxy
from swarm.capture.scribe import ScribeSettings
from swarm.capture.scribe_pipe import ScribePipe
from swarm.capture.upstream import Upstream
from swarm.errors import RunError, UsageError
from swarm.live import collector
from swarm.units import MIB, counted

SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Wish:
    """What is captured, and where to."""

    upstream: str
    out: Path
    host: str
    port: int
    keeps_content: bool
    file_mib: int
    folder_mib: int
    drain_s: float
    ca_file: str | None


def capture(wish: Wish) -> int:
    """Relay until SIGINT or SIGTERM; return the exit code."""
    if wish.folder_mib < 4 * wish.file_mib:
        raise UsageError(
            f"--disk-max {wish.folder_mib}: less than four files of {wish.file_mib} MiB; lower --file-max"
        )
    upstream = Upstream(wish.upstream, ca_file=wish.ca_file)
    try:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_capture(wish, upstream))
    except ImportError:
        asyncio.run(_capture(wish, upstream))
    return 0


async def _capture(wish: Wish, upstream: Upstream) -> None:
    stopped, hurried = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (hurried if stopped.is_set() else stopped).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    pipe = ScribePipe(
        ScribeSettings(
            folder=str(wish.out.absolute()),
            salt=os.urandom(SALT_BYTES),
            keeps_content=wish.keeps_content,
            began_unix_s=time(),
            file_bytes_max=wish.file_mib * MIB,
            folder_bytes_max=wish.folder_mib * MIB,
        )
    )
    await pipe.start()
    proxy = Proxy(upstream=upstream, host=wish.host, port=wish.port, sink=pipe)
    try:
        try:
            await proxy.start()
        except OSError as error:
            raise RunError(_why(error, wish.host, wish.port)) from None
        collector.settle()
        _greet(wish, upstream, proxy.port)
        await stopped.wait()
        stopping = loop.create_task(proxy.stop(wish.drain_s))
        hurry = loop.create_task(hurried.wait())
        await asyncio.wait((stopping, hurry), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not stopping.done():
            stopping.cancel()
            await proxy.stop(0.0)
    finally:
        await pipe.close()
    _sum_up(proxy.status(), wish)


def _greet(wish: Wish, upstream: Upstream, port: int) -> None:
    shown = f"[{wish.host}]" if ":" in wish.host else wish.host
    url = f"http://{shown}:{port}"
    if wish.keeps_content:
        print("swarm: warning: texts of prompts and replies are written as well", file=sys.stderr)
    if not upstream.is_secure and not wish.upstream.startswith("http://"):
        print(f"swarm: {wish.upstream} is taken as {upstream.shown}", file=sys.stderr)
    print(
        f"swarm: capturing {upstream.shown} to {wish.out}; stop with Ctrl-C\n"
        f"  ANTHROPIC_BASE_URL={url}\n  OPENAI_BASE_URL={url}/v1\n  {url}/status",
        file=sys.stderr,
    )
    print(url, flush=True)


def _sum_up(status: dict[str, Any], wish: Wish) -> None:
    written = status["written"]
    lost = written.get("lost", 0) + status["dropped"]
    told = f"{counted(written.get('entries', 0), 'request')} written to {wish.out}"
    if lost:
        told += f", {lost:,} not ({written.get('disk')})"
    print(f"swarm: {told}; swarm analyze {wish.out}", file=sys.stderr)


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"capture: {host}:{port} is in use; name another --port, or 0 for any free one"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"capture: --host {host} is no address of this machine ({error.strerror})"
    return f"capture: cannot listen on {host}:{port}: {error.strerror or error}"
