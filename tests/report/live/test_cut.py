"""What was killed while it went on says so, and what to do."""

import os
import subprocess
import sys

import orjson
import pytest

from swarm.commands.ending import stopped
from swarm.interrupts import Interrupts
from swarm.report.live.course import COURSE, Course
from swarm.report.live.going import Going


@pytest.fixture
def dead_process() -> int:
    """The number of a process that is there no longer."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def begun(folder, **changes) -> None:
    """Leave the course of something that began in a folder."""
    course = Course(folder)
    course.tell("begin", name="long", mode="live", until_s=100.0)
    path = folder / COURSE
    said = {**orjson.loads(path.read_bytes()), **changes}
    path.write_bytes(orjson.dumps(said) + b"\n")


def test_a_run_whose_process_is_there_goes_on(tmp_path) -> None:
    begun(tmp_path, process=os.getpid())
    going = Going(tmp_path)
    going.read()
    assert not going.is_cut and going.advice == ""


def test_a_killed_run_says_that_it_ended_without_a_summary_and_how_to_go_on(tmp_path, dead_process) -> None:
    begun(tmp_path, process=dead_process)
    going = Going(tmp_path)
    going.read()
    head = going.head(going.over_time())
    assert head["advice"] == (
        f"It ended without a summary: its process is gone. To go on: swarm run --resume {tmp_path}"
    )
    assert not head["can_stop"]


def test_a_process_of_another_machine_is_not_called_dead(tmp_path, dead_process) -> None:
    begun(tmp_path, process=dead_process, machine="elsewhere")
    going = Going(tmp_path)
    going.read()
    assert not going.is_cut


def test_a_run_stopped_from_its_page_does_not_speak_of_a_signal() -> None:
    interrupts = Interrupts()
    interrupts.ask()
    told = stopped(interrupts.received, 12.0, 60.0, is_asked=interrupts.is_asked)
    assert told == ["stopped from its live page at 12.0 of 60 s"]
