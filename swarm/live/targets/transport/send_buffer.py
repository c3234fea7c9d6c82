"""What is still to be sent over a socket: buffers handed to the kernel without joining them first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from time import monotonic

from swarm.context.render import Buffer

BUFFERS_PER_SEND = 512
"""Linux takes up to 1,024 buffers in one call."""


class SendBuffer:
    """Sends buffers as fast as the kernel takes them."""

    __slots__ = ("_loop", "_sock", "_unsent", "_waits", "emptied_s", "is_broken", "on_empty")

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._unsent: list[Buffer] = []
        self._waits = False
        self.emptied_s = 0.0
        """When the kernel had last taken all."""
        self.is_broken = False
        """The socket takes no more; reading it tells why."""
        self.on_empty: Callable[[], None] | None = None
        """Called when all is sent that the kernel did not take at once."""

    @property
    def waiting_bytes(self) -> int:
        """How much the kernel has not taken."""
        return sum(map(len, self._unsent))

    @property
    def is_empty(self) -> bool:
        """Whether everything was handed to the kernel, or never will be."""
        return not self._unsent

    def send(self, buffers: list[Buffer]) -> None:
        """Send buffers after those that are still waiting."""
        self._unsent += buffers
        if not self._waits:
            self._push()

    def close(self) -> None:
        """Forget what was not sent."""
        self._unsent.clear()
        self._stop_waiting()

    def _push(self) -> None:
        unsent = self._unsent
        try:
            while unsent:
                sent = self._sock.sendmsg(unsent[:BUFFERS_PER_SEND])
                if sent == sum(map(len, unsent)):
                    unsent.clear()
                    self.emptied_s = monotonic()
                    break
                whole = 0
                while whole < len(unsent) and sent >= len(unsent[whole]):
                    sent -= len(unsent[whole])
                    whole += 1
                del unsent[:whole]
                if sent:
                    unsent[0] = memoryview(unsent[0])[sent:]
        except (BlockingIOError, InterruptedError):
            if not self._waits:
                self._waits = True
                self._loop.add_writer(self._sock.fileno(), self._push)
            return
        except OSError:
            self.is_broken = True
            unsent.clear()
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._waits:
            self._waits = False
            self._loop.remove_writer(self._sock.fileno())
            if self.on_empty is not None:
                self.on_empty()
