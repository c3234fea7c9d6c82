"""What Ray would hang on or die of, with no word of the cause, looked at before it starts."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from swarm.errors import UsageError
from swarm.urls import within

ANSWER_S_MAX = 5.0
"""How long a cluster's address may take to be connected to, and then to answer."""
SOCKET_PATH_BYTES_MAX = 107
"""Of a Unix socket: 108 bytes less the terminator (unix(7))."""
SOCKET_NAME = f"/ray/session_2026-01-01_00-00-00_000000_{os.getpid()}/sockets/plasma_store"
"""What Ray puts behind its temporary folder: a session is named by time and process."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""A client's first words in HTTP/2 (RFC 9113, 3.4): a cluster speaks gRPC."""
FRAME_HEAD_BYTES = 9
SETTINGS = 4
"""The type of the frame that an HTTP/2 server begins with."""
UNSET = "unset it to use a Ray of this machine"


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise UsageError, with a remedy, where Ray can be neither joined nor started as things are."""
    address = environment.get("RAY_ADDRESS", "")
    if address in ("", "local"):
        _check_authentication(environment, is_ours=True)
        _check_temporary(environment)
        return
    _check_authentication(environment, is_ours=False)
    if address != "auto":
        _check_address(address, speaks_tls=environment.get("RAY_USE_TLS", "0") not in ("", "0"))


def _check_address(address: str, *, speaks_tls: bool) -> None:
    """Raise UsageError where no cluster answers at an address."""
    named = f"RAY_ADDRESS={address}"
    if re.match("https?://", address):
        raise UsageError(
            f"{named}: this is the dashboard's URL, for `ray job submit`; "
            f"give the cluster's own address, host:port (usually port 6379), or {UNSET}"
        )
    found = re.fullmatch(r"(?:ray://)?(?:\[([^\[\]]+)\]|([^:/\s]+)):(\d{1,5})", address)
    if found is None or not 0 < int(found[3]) < 1 << 16:
        raise UsageError(f"{named}: not an address; give host:port of the cluster's head, or {UNSET}")
    host, port = found[1] or found[2], int(found[3])
    try:
        # In a thread: a name server that is silent has no bound of ours, and lets no signal be heard.
        with within(ANSWER_S_MAX, lambda: socket.create_connection((host, port), ANSWER_S_MAX)) as connection:
            connection.settimeout(ANSWER_S_MAX)
            speaks = speaks_tls or _speaks_http2(connection)
    except (OSError, UnicodeError) as fault:
        raise UsageError(f"{named}: nothing answers there ({fault}); start the cluster, or {UNSET}") from None
    if not speaks:
        raise UsageError(
            f"{named}: what answers there is no Ray cluster; give the port of the cluster's head "
            f"(usually 6379), not that of its dashboard, or {UNSET}"
        )


def _speaks_http2(connection: socket.socket) -> bool:
    connection.sendall(PREFACE)
    head = b""
    while len(head) < FRAME_HEAD_BYTES:
        try:
            more = connection.recv(FRAME_HEAD_BYTES - len(head))
        except OSError:
            return False
        if not more:
            return False
        head += more
    return head[3] == SETTINGS


def _check_temporary(environment: Mapping[str, str]) -> None:
    """Raise UsageError where Ray's temporary folder cannot hold its files or its sockets."""
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if environment.get(name)), None)
    folder = "/tmp" if name is None else environment[name]
    shown = folder if name is None else f"{name}={folder}"
    length = len(os.fsencode(os.path.abspath(folder) + SOCKET_NAME))
    if length > SOCKET_PATH_BYTES_MAX:
        most = SOCKET_PATH_BYTES_MAX - len(SOCKET_NAME)
        raise UsageError(
            f"{shown}: too long for Ray, whose sockets lie below it in paths of {length} bytes, of at most "
            f"{SOCKET_PATH_BYTES_MAX}; set RAY_TMPDIR to a folder of at most {most} bytes, such as /tmp"
        )
    if not _is_writable(Path(folder, "ray", "session")):
        raise UsageError(f"{shown}: Ray cannot write there; set RAY_TMPDIR to a folder that it can write in")


def _check_authentication(environment: Mapping[str, str], *, is_ours: bool) -> None:
    """Raise UsageError where Ray needs a token and has none.

    A Ray of ours makes one in the home folder, and does so unless it is told not to use any.
    """
    mode = environment.get("RAY_AUTH_MODE", "token" if is_ours else "disabled").lower()
    if mode != "token" or environment.get("RAY_AUTH_TOKEN"):
        return
    given = environment.get("RAY_AUTH_TOKEN_PATH")
    path = Path(given) if given else Path(environment.get("HOME", "/root"), ".ray", "auth_token")
    try:
        if path.read_text().strip():
            return
        why = "it is empty"
    except FileNotFoundError:
        if is_ours and not given and _is_writable(path):
            return
        why = "the folder cannot be written in" if is_ours and not given else "there is no such file"
    except (OSError, UnicodeError) as fault:
        why = str(getattr(fault, "strerror", None) or "it is no text")
    raise UsageError(
        f"Ray authenticates by a token, and there is none in {path}: {why}; "
        "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, or set RAY_AUTH_MODE=disabled"
    )


def _is_writable(path: Path) -> bool:
    """Return whether a file, and the folders above that are missing, can be made."""
    at = path.parent
    while not at.exists() and at != at.parent:
        at = at.parent
    return at.is_dir() and os.access(at, os.W_OK | os.X_OK)
