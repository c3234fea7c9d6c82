"""How a load had ended, as a run that is gone on with finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.commands.run_end import end_of, keep_end
from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.live.driver.driver import RunEnd
from swarm.live.driver.recovered import Recovered
from swarm.records import unstored
from swarm.records.run_folder import RunFolder


@pytest.mark.parametrize(
    ("ended_s", "heard_s", "faults"),
    [
        (10.0, 11.5, ()),
        (10.0, 2.5, ("the load ended at 10.0 s, and the journals tell of no more than its first 2.5 s",)),
        # A disk that refused ended it early: it is gone on with.
        (4.0, 4.2, None),
    ],
)
def test_a_load_that_ended_is_not_played_again_for_want_of_journals(
    tmp_path: Path, ended_s: float, heard_s: float, faults: tuple[str, ...] | None
) -> None:
    load = {"duration_s": 10, "agents": 1}
    asked = validate(Experiment, {"name": "t", "workload": {"kind": "synthetic"}, "load": load}, "test")
    folder = RunFolder.create(tmp_path / "run")
    unstored.set_aside(folder.journals)
    keep_end(folder, "t", RunEnd(ended_s, (), None, None, {}))
    found = end_of(folder, asked, Recovered([], heard_s, 1))
    assert (None if found is None else tuple(each.partition(": ")[0] for each in found.faults)) == faults
