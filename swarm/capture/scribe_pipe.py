"""The way to the process that writes exchanges down: it may be slow, or die; the streams go on."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

import orjson

from swarm.capture.exchange import Exchange
from swarm.capture.scribe import ScribeSettings, framed
from swarm.errors import RunError

WAITING_BYTES_MAX = 512 * 1024**2
"""Of exchanges that wait to be written down; beyond it they are counted, and let go of."""
BEGIN_AGAIN_S = 5.0
START_S = 60.0
END_S = 60.0


class ScribePipe:
    """A scribe in a process, begun again when it dies."""

    def __init__(self, settings: ScribeSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.is_closing = False
        """Nothing more is to be begun."""
        self.told: dict[str, Any] = {}
        """What the scribe said last."""
        self.dropped = 0
        """Exchanges that it was too slow for, or not there for."""
        self.deaths = 0

    async def start(self) -> None:
        """Begin the process; raises `RunError` where it cannot write."""
        process = await self._begin()
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
        if not line:
            # It has said on stderr what was wrong.
            raise RunError(f"capture: nothing can be written to {self._settings.folder}")
        self._hear(line)
        self._reading = asyncio.get_running_loop().create_task(self._read(process))

    def take(self, exchange: Exchange) -> None:
        """Send an exchange to be written down, unless too many wait."""
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            self.dropped += 1
            return
        if process.stdin.transport.get_write_buffer_size() > WAITING_BYTES_MAX:
            self.dropped += 1
            return
        process.stdin.writelines(framed(exchange.packed()))

    async def close(self) -> None:
        """Let everything be written, and wait for it."""
        self.is_closing = True
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(ConnectionError):
            process.stdin.close()
        try:
            async with asyncio.timeout(END_S):
                if self._reading is not None:
                    await self._reading
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _begin(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "swarm.capture.scribe",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.writelines(framed([self._settings.packed()]))
        self._process = process
        return process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        while True:
            assert process.stdout is not None
            while line := await process.stdout.readline():
                self._hear(line)
            if self.is_closing:
                return
            self.deaths += 1
            self._process = None
            print("swarm: capture: what writes has died; it is begun again", file=sys.stderr)
            await asyncio.sleep(BEGIN_AGAIN_S)
            process = await self._begin()

    def _hear(self, line: bytes) -> None:
        with suppress(orjson.JSONDecodeError):
            self.told = orjson.loads(line)
