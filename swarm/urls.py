"""Folders and files that are elsewhere: whatever fsspec knows (s3, gs, http, file, memory, ...)."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import fsspec

from swarm.errors import UsageError

T = TypeVar("T")

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.DOTALL)
FETCH_BYTES_MAX = 1 << 40
PROBE = ".swarm-writable"
"""Written and removed before a run, to see whether its results can be stored."""
ANSWER_S_MAX = 60.0
"""How long a store may take for one answer; the libraries of most have no bound, or none of a minute."""
FILE_S_MAX = 1800.0
"""How long it may take for one file."""
WORDS_MAX = 200


def is_url(place: str | Path) -> bool:
    """Return whether a place is a URL and not a path, even after a path class has taken a slash from it."""
    return _URL.fullmatch(str(place)) is not None


def url_of(place: str | Path) -> str:
    """Return the URL again, both slashes in place."""
    found = _URL.fullmatch(str(place))
    assert found is not None, f"{place} is not a URL"
    scheme, rest = found.groups()
    return f"{scheme}:///{rest}" if scheme in ("file", "local") else f"{scheme}://{rest}"


def fetched(place: Path) -> Path:
    """Return a local copy of a file or folder by URL; a path as it is."""
    if not is_url(place):
        return place
    url = url_of(place)
    filesystem, inside = _open(url)
    try:
        is_there = within(ANSWER_S_MAX, lambda: filesystem.exists(inside))
        size = within(ANSWER_S_MAX, lambda: filesystem.du(inside)) if is_there else 0
        is_folder = within(ANSWER_S_MAX, lambda: filesystem.isdir(inside))
    except Exception as fault:  # noqa: BLE001 - each store's library has errors of its own
        raise UsageError(f"{url}: cannot be read: {_words(fault)}") from None
    if not is_there:
        raise UsageError(f"{url}: nothing is there")
    if size > FETCH_BYTES_MAX:
        raise UsageError(f"{url}: {size} bytes, more than {FETCH_BYTES_MAX}")
    local = Path(tempfile.mkdtemp(prefix="swarm-fetched-")) / Path(inside).name
    try:
        if is_folder:
            filesystem.get(inside.rstrip("/") + "/", f"{local}/", recursive=True)
        else:
            filesystem.get(inside, str(local))
    except Exception as fault:  # noqa: BLE001 - each store's library has errors of its own
        raise UsageError(f"{url}: cannot be read: {_words(fault)}") from None
    return local


def check_writable(url: str) -> None:
    """Refuse a URL that cannot take a run folder, before anything starts."""
    filesystem, inside = _open(url)

    def tried() -> bool:
        if filesystem.exists(inside) and filesystem.ls(inside, detail=False):
            return False
        filesystem.makedirs(inside, exist_ok=True)
        # Many a store takes a folder's name and no file: HTTP, or a bucket without the right to write.
        probe = f"{inside.rstrip('/')}/{PROBE}"
        filesystem.pipe_file(probe, b"swarm")
        filesystem.rm_file(probe)
        return True

    try:
        is_empty = within(ANSWER_S_MAX, tried)
    except Exception as fault:  # noqa: BLE001 - each store's library has errors of its own
        raise UsageError(f"--out {url}: cannot be written: {_words(fault)}") from None
    if not is_empty:
        raise UsageError(f"--out {url}: something is there already; name an absent or empty place")


def upload(folder: Path, url: str) -> None:
    """Copy a folder's files to a URL; raises OSError, with what the store says, where that fails."""
    filesystem, inside = _open(url)

    def put(path: Path) -> None:
        there = f"{inside.rstrip('/')}/{path.relative_to(folder).as_posix()}"
        filesystem.makedirs(there.rpartition("/")[0], exist_ok=True)
        filesystem.put_file(str(path), there)

    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                within(FILE_S_MAX, partial(put, path))
            except Exception as fault:  # noqa: BLE001 - each store's library has errors of its own
                raise OSError(f"{path.name}: {_words(fault)}") from None


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what the work returns or raises; TimeoutError where it takes longer, and is left to itself.

    It is done in a thread, so that a signal is heeded meanwhile, whatever a store's library waits for.
    """
    ended: list[T] = []
    faults: list[Exception] = []

    def carry_out() -> None:
        try:
            ended.append(work())
        except Exception as fault:  # noqa: BLE001 - raised again where it is waited for
            faults.append(fault)

    thread = threading.Thread(target=carry_out, daemon=True)
    thread.start()
    thread.join(seconds)
    if faults:
        raise faults[0]
    if not ended:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return ended[0]


def _open(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        filesystem, inside = within(ANSWER_S_MAX, lambda: fsspec.core.url_to_fs(url))
    except Exception as fault:  # noqa: BLE001 - each store's library has errors of its own
        raise UsageError(f"{url}: {_words(fault)}") from None
    return filesystem, str(inside)


def _words(fault: Exception) -> str:
    """Return an error's name and the first line that it says."""
    lines = str(fault).strip().splitlines()
    return type(fault).__name__ + (f": {lines[0][:WORDS_MAX]}" if lines else "")
