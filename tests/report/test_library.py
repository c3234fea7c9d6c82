"""The drawing script of a page: made once, and kept where the user keeps such things."""

from pathlib import Path

import pytest

from swarm.report.charts import library


def test_the_script_is_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = library()
    (kept,) = (tmp_path / "swarm-emulator").iterdir()
    assert kept.read_text(encoding="utf-8") == made
    kept.write_text("kept", encoding="utf-8")
    assert library() == "kept"


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "vegaEmbed" in library()
