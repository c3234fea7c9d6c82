"""A journal on a disk that refuses: what was acknowledged stays whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from swarm.records.batch import Batch, Gauges
from swarm.records.journal import Journal, damage_notes, damage_of, read_batches, read_journal
from swarm.records.rows import RowTable, to_message

FULL = """
import resource, sys
from pathlib import Path
from swarm.records.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
journal = Journal(Path(sys.argv[1]))
taken = 0
refused = 0
for k in range(20):
    try:
        journal.append(bytes([k]) * 900)
        taken += 1
    except OSError:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
journal.append(b"after")
print(taken, refused)
"""


def test_a_refused_frame_leaves_no_trace_and_later_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    taken, refused = map(int, done.stdout.split())
    assert (taken, refused) == (10_000 // 912, 20 - 10_000 // 912)
    assert list(read_journal(path)) == [bytes([k]) * 900 for k in range(taken)] + [b"after"]


def test_what_a_killed_process_left_half_written_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    journal = Journal(path)
    journal.append(b"one")
    journal.close()
    with path.open("ab") as file:
        file.write(b"\x07\x00\x00")
    again = Journal(path)
    again.append(b"two")
    assert list(read_journal(path)) == [b"one", b"two"]


def batch(sequence: int) -> Batch:
    return Batch(
        host=0, epoch=0, sequence=sequence, is_last=False, rows=to_message(RowTable().table()), open_rows=0,
        windows=b"", places=(), agents=(), itl=b"", loop_lag=b"",
        gauges=Gauges(float(sequence), 0, 0, 0, 0, 0.0, None, 0.0),
        sessions_ended=(), follows=(), faults=(),
    )  # fmt: skip


def five(path: Path) -> list[int]:
    """Write five batches; return where each of them ends."""
    journal = Journal(path)
    ends = []
    for sequence in range(5):
        journal.append(batch(sequence).frame())
        ends.append(path.stat().st_size)
    return ends


@pytest.mark.parametrize("damaged", range(5))
@pytest.mark.parametrize("place", ["length", "checksum", "message"])
def test_a_flipped_byte_takes_its_own_frame_alone(tmp_path: Path, damaged: int, place: str) -> None:
    path = tmp_path / "host-00000-0.journal"
    ends = [0, *five(path)]
    at = ends[damaged] + {"length": 1, "checksum": 9, "message": 200}[place]
    content = bytearray(path.read_bytes())
    content[at] ^= 0x41
    path.write_bytes(content)
    assert [each.sequence for each in read_batches([path])] == [n for n in range(5) if n != damaged]
    (found,) = damage_of(path)
    assert (found.at_byte, found.length_bytes) == (ends[damaged], ends[damaged + 1] - ends[damaged])


def test_what_follows_damage_is_kept_by_whoever_writes_on(tmp_path: Path) -> None:
    path = tmp_path / "host-00000-0.journal"
    ends = five(path)
    content = bytearray(path.read_bytes())
    content[ends[0] + 50] ^= 1
    path.write_bytes(content)
    Journal(path).append(batch(5).frame())
    assert [each.sequence for each in read_batches([path])] == [0, 2, 3, 4, 5]
    (note,) = damage_notes([path])
    assert f"{ends[1] - ends[0]:,} bytes from byte {ends[0]:,} on are damaged" in note
    assert "behind them 4 reports with 0 rows" in note


def test_a_tail_of_zeros_is_no_frame_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "host-00000-0.journal"
    ends = five(path)
    with path.open("ab") as file:
        file.write(bytes(4096))
    assert len(list(read_journal(path))) == 5
    (note,) = damage_notes([path])
    assert f"4,096 bytes from byte {ends[-1]:,} on" in note
    Journal(path).append(batch(5).frame())
    assert [each.sequence for each in read_batches([path])] == [0, 1, 2, 3, 4, 5]


def test_the_half_frame_of_a_killed_process_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "host-00000-0.journal"
    five(path)
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    assert len(list(read_journal(path))) == 4
    assert damage_notes([path]) == []
