"""Writes exchanges down: in a process of its own, so that no stream waits while a prompt is hashed."""

from __future__ import annotations

import marshal
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from swarm.capture.book import Book, BookLimits
from swarm.capture.entry import Entries, line_of
from swarm.capture.exchange import Exchange

SIZE_BYTES = 8
NICE = 15
MODELS_MAX = 1_000
AGENTS_MAX = 1_000_000
"""Names that are counted, and no more."""


@dataclass(frozen=True, slots=True)
class ScribeSettings:
    """What a scribe is told as it begins."""

    folder: str
    salt: bytes
    """Never written: who has a capture alone cannot try whether a prompt is in it."""
    keeps_content: bool
    began_unix_s: float
    file_bytes_max: int
    folder_bytes_max: int

    def packed(self) -> bytes:
        """Return them as bytes."""
        return marshal.dumps(asdict(self))


class Scribe:
    """Takes exchanges in the order in which they ended."""

    def __init__(self, settings: ScribeSettings) -> None:
        limits = BookLimits(settings.file_bytes_max, settings.folder_bytes_max)
        self._book = Book(Path(settings.folder), began_unix_s=settings.began_unix_s, limits=limits)
        self._entries = Entries(salt=settings.salt, keeps_content=settings.keeps_content)
        self._outcomes: Counter[str] = Counter()
        self._apis: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._whose: dict[str, None] = {}
        self.faults = 0
        """Exchanges that could not be written down for a defect of this program."""

    def take(self, exchange: Exchange) -> None:
        """Write one down."""
        entry = self._entries.entry(exchange)
        line = line_of(entry)
        if self._book.would_begin(len(line)):
            self._book.begin()
            self._entries.begin_file()
            line = line_of(self._entries.alone(entry))
        if not self._book.write(line):
            # What is not there cannot be referred to.
            self._entries.begin_file()
        self._count(entry)

    def close(self) -> None:
        """Close the file."""
        self._book.close()

    def told(self) -> dict[str, Any]:
        """Return what was written so far."""
        book, tokens = self._book, self._tokens
        return {
            "entries": book.lines,
            "files": book.files,
            "bytes": book.bytes,
            "lost": book.lost + self.faults,
            "removed_files": book.removed,
            "disk": book.fault or "ok",
            "agents": len(self._whose),
            "by_outcome": dict(self._outcomes),
            "by_api": dict(self._apis),
            "by_model": dict(self._models),
            "input_tokens": tokens["input"],
            "read_tokens": tokens["read"],
            "output_tokens": tokens["output"],
            "hit_rate": tokens["read"] / tokens["counted"] if tokens["counted"] else None,
        }

    def _count(self, entry: dict[str, Any]) -> None:
        self._outcomes[entry["outcome"]] += 1
        self._apis[entry["api"]] += 1
        model = entry.get("model") or "-"
        if model in self._models or len(self._models) < MODELS_MAX:
            self._models[model] += 1
        agent = f"{entry.get('session')}\0{entry.get('agent')}"
        if entry.get("agent") and len(self._whose) < AGENTS_MAX:
            self._whose[agent] = None
        for name in ("input", "read", "output"):
            self._tokens[name] += entry.get(f"{name}_tokens") or 0
        if entry.get("read_tokens") is not None:
            self._tokens["counted"] += entry.get("input_tokens") or 0


def serve(source: BinaryIO, told: Callable[[bytes], None]) -> int:
    """Write down what comes, framed by its size, until the end; tell after each how things stand."""
    settings = ScribeSettings(**marshal.loads(_framed(source) or b""))
    scribe = Scribe(settings)
    told(orjson.dumps(scribe.told()) + b"\n")
    while (data := _framed(source)) is not None:
        try:
            scribe.take(Exchange.unpacked(data))
        except Exception as fault:  # noqa: BLE001 - whatever one exchange trips over ends it alone
            scribe.faults += 1
            print(
                f"swarm: an exchange was not written down: {type(fault).__name__}: {fault}", file=sys.stderr
            )
        told(orjson.dumps(scribe.told()) + b"\n")
    scribe.close()
    told(orjson.dumps(scribe.told()) + b"\n")
    return 0


def framed(parts: Sequence[bytes]) -> list[bytes]:
    """Return the parts of some data with its size before them."""
    return [sum(map(len, parts)).to_bytes(SIZE_BYTES, "little"), *parts]


def _framed(source: BinaryIO) -> bytes | None:
    size = source.read(SIZE_BYTES)
    if len(size) < SIZE_BYTES:
        return None
    data = source.read(int.from_bytes(size, "little"))
    return data if len(data) == int.from_bytes(size, "little") else None


def main() -> int:
    """Be the process: it ends when the one that began it does, and by no signal of the terminal."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # Whenever a stream has something to pass on, that comes first.
    os.nice(NICE)

    def told(line: bytes) -> None:
        try:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            pass

    return serve(sys.stdin.buffer, told)


if __name__ == "__main__":
    sys.exit(main())
