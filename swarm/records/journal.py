"""A journal: a file of batches that survives a killed process."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from swarm.records.batch import Batch

FRAME_BYTES_MAX = 1 << 31
_HEAD_BYTES = 12


class Journal:
    """A file of framed messages that is only appended to.

    A frame is its length, its checksum and the message, handed to the system as one write: a process may
    be killed at any time and all frames but the last are whole. What an earlier process left half-written
    at the end is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end = whole_bytes(path) if path.exists() else 0
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._cut()

    def append(self, message: bytes) -> None:
        """Write one message; it is the system's from then on, whatever happens to this process.

        Raises OSError, with the file as it was, where the message cannot be written whole.
        """
        head = len(message).to_bytes(8, "little") + zlib.crc32(message).to_bytes(4, "little")
        frame = head + message
        try:
            written = self._file.write(frame)
        except OSError:
            self._cut()
            raise
        if written != len(frame):
            self._cut()
            raise OSError(errno.ENOSPC, "a frame was written in part: the disk is full or a limit is reached")
        self._end += len(frame)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _cut(self) -> None:
        """Take back what follows the last whole frame."""
        if os.fstat(self._file.fileno()).st_size != self._end:
            os.ftruncate(self._file.fileno(), self._end)


def whole_bytes(path: Path) -> int:
    """Return how many bytes of a journal are whole frames."""
    return sum(map(frame_bytes, read_journal(path)))


def frame_bytes(message: bytes) -> int:
    """Return how many bytes of a journal a message takes."""
    return _HEAD_BYTES + len(message)


def read_journal(path: Path, *, start: int = 0) -> Iterator[bytes]:
    """Return the whole messages of a journal from a byte on, up to where it was cut off."""
    with path.open("rb") as file:
        file.seek(start)
        while len(head := file.read(_HEAD_BYTES)) == _HEAD_BYTES:
            length = int.from_bytes(head[:8], "little")
            if length > FRAME_BYTES_MAX:
                return
            message = file.read(length)
            if len(message) < length or zlib.crc32(message) != int.from_bytes(head[8:], "little"):
                return
            yield message


def read_batches(journals: Iterable[Path]) -> list[Batch]:
    """Return the batches of all journals, each once, by host, epoch and sequence.

    What a host still wrote after another had taken over its sessions does not count: the next epoch's
    batches say where each earlier one ends.
    """
    batches: dict[tuple[int, int, int], Batch] = {}
    ends: dict[tuple[int, int], int] = {}
    for path in journals:
        for frame in read_journal(path):
            batch = Batch.of_frame(frame)
            batches.setdefault((batch.host, batch.epoch, batch.sequence), batch)
            for epoch, last in enumerate(batch.follows):
                ends[batch.host, epoch] = last
    return [
        batches[host, epoch, sequence]
        for host, epoch, sequence in sorted(batches)
        if sequence <= ends.get((host, epoch), sequence)
    ]
