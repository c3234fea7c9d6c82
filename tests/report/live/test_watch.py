"""`swarm watch` of folders in which something goes on, has ended, or is not."""

from pathlib import Path

import pytest

from swarm.commands import live_page
from swarm.commands.watch import watch_here
from swarm.errors import UsageError
from swarm.records.run_folder import RunFolder


def look(place: Path) -> int:
    return watch_here(str(place), only_lines=False, beside=0, held=-1)


@pytest.mark.parametrize("name", [".", "absent"])
def test_a_folder_in_which_nothing_is_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="swarm watch"):
        look(tmp_path / name)


def test_a_run_that_has_ended_is_shown_once(
    going_run, sample_run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    going_run.until(900.0)
    going_run.end(sample_run)
    assert look(going_run.path) == 0
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("900/900 s  agents ") and said.err.count("\n") == 1


def test_a_page_without_its_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_page, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(UsageError, match=r"needs uvicorn.*swarm-emulator\[live\]"):
        live_page.check_installed()
