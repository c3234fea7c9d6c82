"""What may be stated of a format's files, and what means nothing there."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.errors import UsageError
from swarm.workload.formats import FORMATS, open_format, write_sessions
from tests.workload.formats.recorded import request, session

STATED_ANYWHERE = ("block_tokens=16", "rows=cumulative", "bytes_per_token=4")
SETTINGS = (*STATED_ANYWHERE, "time_unit=s", "subagent_times=absolute")
READ = {
    "weka": ("subagent_times=absolute",),
    "mooncake": (*STATED_ANYWHERE, "time_unit=s"),
    "multi_turn": ("block_tokens=16", "bytes_per_token=4"),
    "dag_jsonl": ("block_tokens=16", "bytes_per_token=4"),
    "inputs_json": ("block_tokens=16", "bytes_per_token=4"),
}
WRITTEN = {
    "weka": ("block_tokens=16",),
    "mooncake": ("block_tokens=16", "rows=cumulative"),
    "multi_turn": ("bytes_per_token=4",),
    "dag_jsonl": ("bytes_per_token=4",),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("format", READ)
def test_what_means_nothing_in_reading_is_refused(format: str, setting: str) -> None:
    spec = f"{format}:{setting}"
    if setting in READ[format]:
        key, _, value = setting.partition("=")
        opened = open_format(spec)
        assert (opened.name, str(getattr(opened.options, key))) == (
            format,
            f"{value}.0" if key == "bytes_per_token" else value,
        )
        return
    with pytest.raises(
        UsageError, match=f"means nothing where {format} is read; leave it out .it is for (mooncake|weka)"
    ):
        open_format(spec)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("format", WRITTEN)
def test_what_means_nothing_in_writing_is_refused(tmp_path: Path, format: str, setting: str) -> None:
    dest = tmp_path / "a.jsonl"
    sessions = [session(request(0.0, [1, 2]))]
    if setting in WRITTEN[format]:
        assert write_sessions(sessions, dest, f"{format}:{setting}")[0] == 1
        return
    with pytest.raises(UsageError, match=f"means nothing where {format} is written; leave it out"):
        write_sessions(sessions, dest, f"{format}:{setting}")
    assert not dest.exists()


def test_a_fact_is_stated_once() -> None:
    with pytest.raises(UsageError, match="rows is stated twice"):
        open_format("mooncake:rows=delta,rows=cumulative")


@pytest.mark.parametrize("value", ["1e-300", "0.2", "0", "nan", "inf", "1025"])
def test_a_token_that_no_text_could_be_laid_out_in_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=r"is not understood; .* bytes_per_token=0.25..1024"):
        open_format(f"multi_turn:bytes_per_token={value}")


def test_every_format_is_held_to_this() -> None:
    written = {name for name, format in FORMATS.items() if format.write is not None}
    assert (set(READ), set(WRITTEN)) == (set(FORMATS), written)
