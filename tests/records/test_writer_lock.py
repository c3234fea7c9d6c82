"""One writer for a run folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from swarm.errors import UsageError
from swarm.records.writer_lock import sole_writer

HOLD = """
import sys
from pathlib import Path
from swarm.records.writer_lock import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_writer_is_told_who_the_first_one_is(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"process {first.pid} on "), sole_writer(tmp_path):
            pass
        first.kill()
        first.wait()
        with sole_writer(tmp_path):
            pass
    assert [each.name for each in tmp_path.iterdir()] == [".writer.lock"]
