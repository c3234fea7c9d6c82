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

_unpack = Struct("@ll").unpack


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
    _, kind, data = ancillary[0]
    if kind != SO_TIMESTAMPNS:
        return 0.0
    seconds, nanoseconds = _unpack(data)
    lag: float = time() - seconds - nanoseconds * 1e-9
    return lag if 0.0 <= lag <= LAG_MAX_S else 0.0
