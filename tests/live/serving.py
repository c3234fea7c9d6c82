"""An emulated fleet behind HTTP, served from a thread."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from swarm.config.fleet import FleetConfig
from swarm.provider import Provider


@contextmanager
def served(fleet: FleetConfig, port: int) -> Iterator[int]:
    """Serve a fleet on a port (0: a free one); yield the port."""
    ready: queue.Queue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def serve() -> None:
        server = Provider(fleet, host="127.0.0.1", port=port)
        await server.start()
        over = asyncio.Event()
        ready.put((server.port, asyncio.get_running_loop(), over))
        await over.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    found, loop, over = ready.get(timeout=30)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
