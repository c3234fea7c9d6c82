"""One writer for a run folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from swarm.commands.run import resume_live
from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.errors import UsageError
from swarm.records.run_folder import RunFolder
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


def test_a_run_that_is_being_written_is_not_gone_on_with(tmp_path: Path) -> None:
    experiment = validate(Experiment, {"name": "a", "workload": {"kind": "synthetic"}}, "test")
    folder = RunFolder.create(tmp_path / "run")
    folder.write_run(experiment, {"mode": "live", "run_id": "a-1"})
    with sole_writer(folder.journals), pytest.raises(UsageError, match="another process writes this run"):
        resume_live(folder.path)
