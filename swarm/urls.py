"""Folders and files that are elsewhere: whatever fsspec knows (s3, gs, http, file, memory, ...)."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import fsspec

from swarm.errors import UsageError

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.DOTALL)
FETCH_BYTES_MAX = 1 << 40
PROBE = ".swarm-writable"
"""Written and removed before a run, to see whether its results can be stored."""


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
    folder = Path(tempfile.mkdtemp(prefix="swarm-fetched-"))
    filesystem, inside = _open(url)
    if not filesystem.exists(inside):
        raise UsageError(f"{url}: nothing is there")
    local = folder / Path(inside).name
    size = filesystem.du(inside)
    if size > FETCH_BYTES_MAX:
        raise UsageError(f"{url}: {size} bytes, more than {FETCH_BYTES_MAX}")
    if filesystem.isdir(inside):
        filesystem.get(inside.rstrip("/") + "/", f"{local}/", recursive=True)
    else:
        filesystem.get(inside, str(local))
    return local


def check_writable(url: str) -> None:
    """Refuse a URL that cannot take a run folder, before anything starts."""
    filesystem, inside = _open(url)
    try:
        if filesystem.exists(inside) and filesystem.ls(inside, detail=False):
            raise UsageError(f"--out {url}: something is there already; name an absent or empty place")
        filesystem.makedirs(inside, exist_ok=True)
        # Many a store takes a folder's name and no file: HTTP, or a bucket without the right to write.
        probe = f"{inside.rstrip('/')}/{PROBE}"
        filesystem.pipe_file(probe, b"swarm")
        filesystem.rm_file(probe)
    except UsageError:
        raise
    except Exception as fault:  # noqa: BLE001 - each store's library has errors of its own
        why = str(fault).strip().splitlines()
        raise UsageError(
            f"--out {url}: cannot be written: {type(fault).__name__}{f': {why[0][:200]}' if why else ''}"
        ) from None


def upload(folder: Path, url: str) -> None:
    """Copy a folder's files to a URL; raises OSError where that fails."""
    filesystem, inside = _open(url)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            there = f"{inside.rstrip('/')}/{path.relative_to(folder).as_posix()}"
            filesystem.makedirs(there.rpartition("/")[0], exist_ok=True)
            filesystem.put_file(str(path), there)


def _open(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        filesystem, inside = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError, OSError) as fault:
        raise UsageError(f"{url}: {fault}") from None
    return filesystem, str(inside)
