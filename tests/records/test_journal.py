"""A journal on a disk that refuses: what was acknowledged stays whole."""

import subprocess
import sys
from pathlib import Path

from swarm.records.journal import Journal, read_journal

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
