"""What a process finds on its node: the least of what the machine and its container allow."""

from pathlib import Path

import pytest

from swarm.live import room

FILES = {"cpu.max": "150000 100000", "memory.max": "1000000", "memory.current": "400000"}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container's limits, on a machine with 2 MB of free memory and 16 cores."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "meminfo").write_text("MemTotal: 8000 kB\n\nMemAvailable: 2000 kB\n")
    monkeypatch.setattr(room, "CGROUP", tmp_path)
    monkeypatch.setattr(room, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(room.os, "sched_getaffinity", lambda pid: set(range(16)))
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "cores", "free"),
    [
        ({}, 1.5, 600_000),
        ({"cpu.max": "max 100000", "memory.max": "max"}, 16.0, 2_048_000),
        ({"cpu.max": "9900000 100000", "memory.max": "9000000"}, 16.0, 2_048_000),
        ({"cpu.max": None, "memory.max": None, "memory.current": None}, 16.0, 2_048_000),
        ({"memory.max": "300000"}, 1.5, 0),
    ],
)
def test_a_container_bounds_what_its_machine_has(
    files: Path, changed: dict[str, str | None], cores: float, free: int
) -> None:
    for name, text in changed.items():
        (files / name).unlink() if text is None else (files / name).write_text(text)
    found = room.room_here("a")
    assert (found.node, found.cores, found.memory_free_bytes) == ("a", cores, free)


def test_what_cannot_be_read_is_not_known(files: Path) -> None:
    for path in files.iterdir():
        path.unlink()
    assert room.room_here("a").memory_free_bytes is None


def test_a_process_may_open_what_its_administrator_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(256, 4_096)]
    monkeypatch.setattr(room.resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(room.resource, "setrlimit", lambda which, wanted: limits.append(wanted))
    room.raise_file_limit()
    assert limits[-1] == (4_096, 4_096)
