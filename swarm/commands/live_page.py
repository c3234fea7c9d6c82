"""`--live`: the page of a run, served by a process beside it that is started here and not waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from swarm.errors import UsageError


def check_installed() -> None:
    """Raise UsageError where the web server is not installed."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"a live page needs {' and '.join(missing)}, not installed here: pip install "
            "'swarm-emulator[live]'; swarm watch RUN --terminal does without"
        )


@contextmanager
def page_beside(folder: Path, *, wanted: bool) -> Iterator[None]:
    """Let a page of the folder be served by another process, which tells its URL on stderr."""
    if not wanted:
        yield
        return
    check_installed()
    command = [
        sys.executable,
        "-m",
        "swarm",
        "watch",
        str(folder),
        "--port",
        "0",
        "--beside",
        str(os.getpid()),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    threading.Thread(target=_tell, args=(process.stdout,), daemon=True).start()
    yield


def _tell(lines: IO[bytes]) -> None:
    """Pass the URL on, once it is there."""
    url = lines.readline().decode().strip()
    words = f"live page: {url}" if url else "the live page could not be opened: swarm watch RUN says why"
    print(f"swarm: {words}", file=sys.stderr, flush=True)
