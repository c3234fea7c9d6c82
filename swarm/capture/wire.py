"""One end's socket: reads that the kernel stamps, writes that wait for it, plain or encrypted."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from time import monotonic

from swarm.context.render import Buffer
from swarm.live.targets.transport.readiness import Readiness
from swarm.live.targets.transport.receive_times import ANCILLARY_BYTES, enable, lag_s
from swarm.live.targets.transport.send_buffer import SendBuffer
from swarm.live.targets.transport.tls import TlsLayer

READ_BYTES = 64 * 1024
"""Taken from a socket at once; from 128 KiB on the C library asks the kernel for the memory of each read."""
LINGER_S = 2.0
"""How long the other side may take to close after it was told that no more comes."""
_RESET = struct.pack("ii", 1, 0)


class Wire:
    """A connected socket; what it calls is called from the event loop, so it must not block.

    `on_data` takes bytes and when they arrived (`time.monotonic`), `on_end` why no more will come: nothing
    where the other side closed in order. `on_drained` is called when all that waited to be sent was.
    """

    __slots__ = (
        "_closes",
        "_on_data",
        "_on_drained",
        "_on_end",
        "_outbox",
        "_paused",
        "_readiness",
        "_recvmsg",
        "_send",
        "_sock",
        "_timer",
        "_tls",
        "closed",
    )

    def __init__(
        self,
        *,
        sock: socket.socket,
        tls: TlsLayer | None,
        readiness: Readiness,
        on_data: Callable[[bytes, float], None],
        on_end: Callable[[str], None],
        on_drained: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._tls = tls
        self._readiness = readiness
        self._on_data = on_data
        self._on_end = on_end
        self._on_drained = on_drained
        self._recvmsg = sock.recvmsg if enable(sock) else None
        self._send = sock.send
        self._outbox = SendBuffer(sock)
        self._outbox.on_empty = self._emptied
        self._paused = False
        self._closes = False
        """It is to be closed: nothing more is read."""
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False
        readiness.add(sock.fileno(), self._readable)

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be sent."""
        return 0 if self._outbox.is_empty else self._outbox.waiting_bytes

    def send(self, data: Buffer) -> None:
        """Send bytes after those that are waiting."""
        if self.closed or not data:
            return
        buffers: list[Buffer] = [data]
        if self._tls is None and self._outbox.is_empty:
            # Nearly always the kernel takes all of it at once.
            try:
                sent = self._send(data)
            except OSError:
                sent = 0
            if sent == len(data):
                return
            buffers = [memoryview(data)[sent:]]
        elif self._tls is not None:
            try:
                buffers = self._tls.encrypt(buffers)
            except OSError as error:
                self._lost(f"{type(error).__name__} while encrypting")
                return
        self._outbox.send(buffers)

    def pause(self) -> None:
        """Stop reading: the kernel's buffer fills up and the other side has to wait."""
        if not self._paused and not self.closed:
            self._paused = True
            self._readiness.remove(self._sock.fileno())

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self.closed:
            self._paused = False
            self._readiness.add(self._sock.fileno(), self._readable)

    def finish(self) -> None:
        """Close once everything is sent and the other side has closed; what it still sends is dropped."""
        if self.closed or self._closes:
            return
        self._closes = True
        self.resume()
        if self._outbox.is_empty:
            self._shut()

    def reset(self) -> None:
        """Close so that the other side cannot take it for an end in order."""
        if not self.closed:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()

    def close(self) -> None:
        """Close; the end is told nothing."""
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._outbox.on_empty = None
        self._outbox.close()
        if not self._paused:
            self._readiness.remove(self._sock.fileno())
        self._sock.close()

    def _readable(self) -> None:
        lag = 0.0
        try:
            if self._recvmsg is not None:
                data, ancillary, _, _ = self._recvmsg(READ_BYTES, ANCILLARY_BYTES)
                if ancillary:
                    lag = lag_s(ancillary)
            else:
                data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(f"{type(error).__name__} while reading")
            return
        at_s = monotonic() - lag
        if not data:
            self._lost("")
        elif self._closes:
            return
        elif self._tls is None:
            self._on_data(data, at_s)
        else:
            self._decrypt(self._tls, data, at_s)

    def _decrypt(self, tls: TlsLayer, data: bytes, at_s: float) -> None:
        plain, ended, problem, reply = tls.decrypt(data)
        if reply:
            self._outbox.send([reply])
        if plain:
            self._on_data(plain, at_s)
        if not self.closed and (problem is not None or ended):
            self._lost(problem or "")

    def _lost(self, why: str) -> None:
        self.close()
        self._on_end(why)

    def _emptied(self) -> None:
        if self._closes:
            self._shut()
        else:
            self._on_drained()

    def _shut(self) -> None:
        """Say that no more comes: to close at once would take back what the other side has not read."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._lost("")
            return
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._lost, "")
