"""One writer for a run folder."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.commands import earlier_hosts
from swarm.commands.earlier_hosts import wait_for_earlier_hosts
from swarm.commands.run import resume_live
from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.errors import Interrupted, RunError, UsageError
from swarm.records.journal import Journal
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


def test_hosts_that_outlive_their_driver_are_waited_for(tmp_path: Path, capsys) -> None:
    journal = Journal(tmp_path / "host-00000-0.journal")
    Journal(tmp_path / "host-00001-0.journal").close()
    journal.append(b"its last words")
    wait_for_earlier_hosts(tmp_path, journal.close)
    assert capsys.readouterr().err == "waiting for 1 processes of the earlier driver to end\n"
    wait_for_earlier_hosts(tmp_path, lambda: pytest.fail("nobody is to be waited for"))


def test_hosts_that_never_end_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier_hosts, "END_S_MAX", 0.0)
    journal = Journal(tmp_path / "host-00000-0.journal")
    with pytest.raises(RunError, match=r"host-00000-0\.journal: a process of the earlier driver"):
        wait_for_earlier_hosts(tmp_path, lambda: None)
    journal.close()


def test_a_signal_ends_the_wait_for_earlier_hosts(tmp_path: Path) -> None:
    def heed() -> None:
        raise Interrupted(signal.SIGTERM)

    journal = Journal(tmp_path / "host-00000-0.journal")
    with pytest.raises(Interrupted):
        wait_for_earlier_hosts(tmp_path, heed)
    journal.close()


def test_a_disk_that_refuses_the_name_of_the_writer_hides_no_other_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with pytest.raises(RunError, match="what matters"), sole_writer(tmp_path):
        monkeypatch.setattr(Path, "unlink", refuses)
        raise RunError("what matters")
