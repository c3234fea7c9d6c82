"""Small disks of a size, and what a test does where the machine lets it mount none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A file system in memory that can be filled, made read-only, and given room again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, leaving_bytes: int = 0) -> None:
        """Fill it, but for so many bytes."""
        with (self.path / "filler").open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    continue
            except OSError:
                pass
            file.truncate(max(0, file.tell() - leaving_bytes))

    def clear(self) -> None:
        """Make room again."""
        (self.path / "filler").unlink()

    def remount(self, options: str) -> None:
        """Change how it is mounted."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)


@contextmanager
def small_disk(path: Path, options: str) -> Iterator[SmallDisk]:
    """Mount a file system in memory at a new folder; skip where that is not allowed."""
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this machine lets the test mount no file system")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=False)
