"""A journal: a file of batches that survives a killed process; damage takes no more of it than it hits.

A frame is whole or not there. What is no whole frame is passed over: reading goes on at the next batch.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from swarm.records.batch import Batch
from swarm.records.rows import from_message

FRAME_BYTES_MAX = 1 << 31
_HEAD_BYTES = 12
_BATCH_AT = _HEAD_BYTES + 4
_BATCH = b'{"host":'
"""How a batch's head begins, `_BATCH_AT` bytes into its frame: it leads to the next frame behind damage."""
_CUT_OFF_BYTES = 1 << 16
"""A tail of up to so many bytes, not all of them zero, is what a killed process had begun to write."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a journal that are no whole frame."""

    path: Path
    at_byte: int
    length_bytes: int
    is_tail: bool
    """Whether no whole frame follows."""
    is_zero: bool
    """Whether all of them are zero: space that the disk gave and nobody wrote."""

    @property
    def is_cut_off(self) -> bool:
        """Whether it is what a process that was killed leaves: the beginning of its last frame."""
        return self.is_tail and not self.is_zero and self.length_bytes <= _CUT_OFF_BYTES


class Journal:
    """A file of framed messages that is only appended to.

    A frame is its length, its checksum and the message, handed to the system as one write: a process may
    be killed at any time and all frames but the last are whole. What an earlier process left half-written
    at the end is cut off. Whoever asks is told that it is being written, as long as the process lives.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end = whole_bytes(path) if path.exists() else 0
        self._file: BinaryIO = path.open("ab", buffering=0)
        with suppress(OSError):  # A file system without locks.
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self._cut()

    def append(self, message: bytes) -> None:
        """Write one message; it is the system's from then on, whatever happens to this process.

        Raises OSError, with the file as it was, where the message cannot be written whole.
        """
        head = len(message).to_bytes(8, "little") + zlib.crc32(message).to_bytes(4, "little")
        frame = head + message
        try:
            written = self._file.write(frame)
            if written != len(frame):
                # What is left is refused with the reason.
                written += self._file.write(frame[written:])
            if written != len(frame):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._cut()
            raise
        self._end += len(frame)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _cut(self) -> None:
        """Take back what follows the last whole frame."""
        if os.fstat(self._file.fileno()).st_size != self._end:
            os.ftruncate(self._file.fileno(), self._end)


def is_being_written(path: Path) -> bool:
    """Return whether a process has a journal open, as far as its file system knows of locks."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def whole_bytes(path: Path) -> int:
    """Return where the last whole frame of a journal ends, in bytes."""
    end = 0
    for end, _ in _frames(path, 0, _pass_over):  # noqa: B007 - the last one counts
        pass
    return end


def frame_bytes(message: bytes) -> int:
    """Return how many bytes of a journal a message takes."""
    return _HEAD_BYTES + len(message)


def read_journal(path: Path, *, start: int = 0) -> Iterator[bytes]:
    """Return the whole messages of a journal from a byte on; what is damaged is passed over."""
    for _, message in _frames(path, start, _pass_over):
        yield message


def damage_of(path: Path) -> list[Damage]:
    """Return the stretches of a journal that are no whole frames."""
    found: list[Damage] = []
    for _ in _frames(path, 0, found.append):
        pass
    return found


def damage_notes(journals: Iterable[Path]) -> list[str]:
    """Return a sentence for each damaged journal; the half frame of a killed process is no damage."""
    notes = []
    for path in journals:
        damages = [damage for damage in damage_of(path) if not damage.is_cut_off]
        if not damages:
            continue
        lost = sum(damage.length_bytes for damage in damages)
        behind = [Batch.of_frame(message) for message in read_journal(path, start=damages[0].at_byte)]
        rows = sum(from_message(batch.rows).num_rows for batch in behind)
        notes.append(
            f"journal/{path.name}: {lost:,} bytes from byte {damages[0].at_byte:,} on are damaged and were "
            f"not read; behind them {len(behind):,} reports with {rows:,} rows were"
        )
    return notes


def _pass_over(damage: Damage) -> None:
    """Leave damage to whoever asks for it."""


def _frames(path: Path, start: int, on_damage: Callable[[Damage], None]) -> Iterator[tuple[int, bytes]]:
    """Yield where each whole frame ends, and its message."""
    at = start
    with path.open("rb") as file:
        while True:
            file.seek(at)
            message = _message(file)
            if message is not None:
                at += _HEAD_BYTES + len(message)
                yield at, message
                continue
            size = os.fstat(file.fileno()).st_size
            if at >= size:
                return
            found = _next_frame(file, at + 1)
            end = size if found is None else found
            on_damage(Damage(path, at, end - at, found is None, _is_zero(file, at, end)))
            if found is None:
                return
            at = found


def _message(file: BinaryIO) -> bytes | None:
    """Return the message of the frame at the file's place; None where there is no whole one."""
    head = file.read(_HEAD_BYTES)
    length = int.from_bytes(head[:8], "little")
    # No message is empty: a stretch of zeros, as a lost disk leaves, has a right checksum of nothing.
    if len(head) < _HEAD_BYTES or not 0 < length <= FRAME_BYTES_MAX:
        return None
    if length > os.fstat(file.fileno()).st_size - file.tell():
        return None
    message = file.read(length)
    return message if zlib.crc32(message) == int.from_bytes(head[8:], "little") else None


def _next_frame(file: BinaryIO, from_byte: int) -> int | None:
    """Return where the next whole frame of a batch begins, at or after a byte."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = content.find(_BATCH, from_byte + _BATCH_AT)
        while found >= 0:
            file.seek(found - _BATCH_AT)
            if _message(file) is not None:
                return found - _BATCH_AT
            found = content.find(_BATCH, found + 1)
    return None


def _is_zero(file: BinaryIO, start: int, end: int) -> bool:
    file.seek(start)
    while start < end:
        piece = file.read(min(1 << 20, end - start))
        if not piece or piece.count(0) != len(piece):
            return False
        start += len(piece)
    return True


def read_batches(journals: Iterable[Path], *, unstored: Iterable[Batch] = ()) -> list[Batch]:
    """Return the batches of all journals, and those that none could store, each once and in order.

    The order is by host, epoch and sequence. What a host still wrote after another had taken over its
    sessions does not count: the next epoch's batches say where each earlier one ends.
    """
    stored = (Batch.of_frame(frame) for path in journals for frame in read_journal(path))
    batches: dict[tuple[int, int, int], Batch] = {}
    ends: dict[tuple[int, int], int] = {}
    for batch in chain(stored, unstored):
        batches.setdefault((batch.host, batch.epoch, batch.sequence), batch)
        for epoch, last in enumerate(batch.follows):
            ends[batch.host, epoch] = last
    return [
        batches[host, epoch, sequence]
        for host, epoch, sequence in sorted(batches)
        if sequence <= ends.get((host, epoch), sequence)
    ]
