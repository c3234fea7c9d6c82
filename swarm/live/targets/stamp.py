"""Receive times from the kernel, where it gives them: when bytes arrived, not when this process looked."""

from __future__ import annotations

import socket
import sys
from struct import Struct
from time import time

# asm-generic/socket.h; Python's socket module does not name it.
SO_TIMESTAMPNS = 35
ANCILLARY_BYTES = socket.CMSG_SPACE(16) if hasattr(socket, "CMSG_SPACE") else 0
LAG_MAX_S = 600.0
"""A stamp further back than this, or ahead of now, tells of a clock that was set, not of waiting bytes."""

_TIMESPEC = Struct("@ll")


def enable(sock: socket.socket) -> bool:
    """Ask for stamps on a stream socket; False where the platform has none for TCP."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


def lag_s(ancillary: list[tuple[int, int, bytes]]) -> float:
    """Return how long the bytes of a read that ended just now had been waiting."""
    for _, kind, data in ancillary:
        if kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            lag: float = time() - seconds - nanoseconds * 1e-9
            return lag if 0.0 <= lag <= LAG_MAX_S else 0.0
    return 0.0
