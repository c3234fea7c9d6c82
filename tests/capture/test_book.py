"""The files of a capture: each can be read alone, together they have a bound, a full disk costs lines."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from swarm.capture.book import RETRY_ENTRIES, Book, BookLimits
from swarm.capture.exchange import Exchange
from swarm.workload.formats import read_sessions

TURNS = 24


def turn(number: int) -> Exchange:
    """Return the exchange of an agent's turn, whose prompt begins with all those before it."""
    messages = [{"role": "user", "content": f"{n:04d} " * 200} for n in range(number + 1)]
    usage = {"prompt_tokens": 250 * (number + 1), "completion_tokens": 3}
    reply = {"id": "r", "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}
    return Exchange(
        api="chat",
        started_s=float(number),
        started_unix_s=1e9 + number,
        headers={b"x-session-id": b"s"},
        secret=b"",
        asked=[orjson.dumps({"model": "m", "messages": messages})],
        status=200,
        reply_headers={b"content-type": b"application/json"},
        replied=[(number + 0.5, orjson.dumps(reply))],
        ended_s=number + 0.5,
    )


def ids(folder: Path) -> dict[float, list[int]]:
    (session,) = read_sessions(folder, "auto")
    return {session.entries[0].t_s + place: list(r.hash_ids) for place, r in enumerate(session.requests())}


def test_what_is_shared_is_written_once_and_read_whole(tmp_path: Path, wire: SimpleNamespace) -> None:
    """In one file, and in many that refer to nothing in each other."""
    sizes = {}
    for name, file_bytes_max in (("one", 1 << 26), ("many", 6_000)):
        folder = tmp_path / name
        sink = wire.inline(folder, file_bytes_max=file_bytes_max)
        for number in range(TURNS):
            sink.take(turn(number))
        sizes[name] = (len(list(folder.iterdir())), sum(f.stat().st_size for f in folder.iterdir()))
    assert ids(tmp_path / "one") == ids(tmp_path / "many")
    found = list(ids(tmp_path / "one").values())
    # The last block may reach beyond the words.
    assert all(after[: len(before) - 1] == before[:-1] for before, after in pairwise(found))
    assert sizes["one"][0] == 1 < sizes["many"][0]
    # 1,000 characters of new words a turn are 16 hashes.
    assert sizes["one"][1] < TURNS * 1_000


def test_the_folder_has_a_bound_and_the_oldest_go(tmp_path: Path, wire: SimpleNamespace) -> None:
    bound = 24_000
    sink = wire.inline(tmp_path, file_bytes_max=6_000, folder_bytes_max=bound)
    for number in range(3 * TURNS):
        sink.take(turn(number % TURNS))
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= bound
    assert sink.told["removed_files"] > 0
    assert sink.told["lost"] == 0
    (session,) = read_sessions(tmp_path, "auto")
    assert len(list(session.requests())) < 3 * TURNS


def test_nothing_else_in_the_folder_is_removed(tmp_path: Path, wire: SimpleNamespace) -> None:
    other = tmp_path / "notes.jsonl"
    other.write_bytes(b"x" * 100_000)
    sink = wire.inline(tmp_path, file_bytes_max=6_000, folder_bytes_max=24_000)
    for number in range(TURNS):
        sink.take(turn(number))
    assert other.stat().st_size == 100_000


def test_a_disk_that_refuses_costs_the_lines_that_it_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Book(tmp_path, began_unix_s=1.0, limits=BookLimits(1 << 20, 1 << 24))
    assert book.write(b"one\n")
    real, state = os.write, {"full": True}

    def write(fd: int, data: bytes) -> int:
        if state["full"]:
            real(fd, data[:2])  # A part of it is there.
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    assert not book.write(b"two\n")
    assert book.fault == "No space left on device"
    state["full"] = False
    tried = [book.write(b"three\n") for _ in range(RETRY_ENTRIES)]
    book.close()
    assert tried == [False] * (RETRY_ENTRIES - 1) + [True]
    assert book.lost == RETRY_ENTRIES
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == b"one\nthree\n"


def test_a_lost_line_is_not_referred_to(
    tmp_path: Path, wire: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = wire.inline(tmp_path)
    sink.take(turn(0))
    monkeypatch.setattr(sink.scribe._book, "write", lambda line: False)
    sink.take(turn(1))
    monkeypatch.undo()
    sink.take(turn(2))
    entries: list[dict[str, Any]] = wire.entries(tmp_path)
    assert [entry["base"] for entry in entries] == [None, None]


def test_files_are_their_owner_s_alone(tmp_path: Path, wire: SimpleNamespace) -> None:
    wire.inline(tmp_path).take(turn(0))
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o077 == 0


def test_a_capture_without_a_request_leaves_no_file(tmp_path: Path, wire: SimpleNamespace) -> None:
    wire.inline(tmp_path).scribe.close()
    assert list(tmp_path.iterdir()) == []
